//! Webhooks are told of changes of connectors.

use portcullis_store::{ConnectorRecord, Writes};
use serde_json::Value;

use crate::error::Error;
use crate::resources::Resources;
use crate::webhooks::{Event, EventData, EventType, broadcast};

/// The status of a definition that only the platform sees.
const DRAFT: &str = "draft";

/// Adds to a change of a connector that all are told of it; of a draft the platform alone.
pub(super) async fn told(
    resources: &Resources,
    writes: Writes,
    record: &ConnectorRecord,
    change: &'static str,
) -> Result<Writes, Error> {
    let is_draft = record.definition.get("status").and_then(Value::as_str) == Some(DRAFT);
    let data = EventData {
        connector_id: Some(record.connector_id.as_str().to_owned()),
        revision: Some(record.revision),
        enabled: Some(record.enabled),
        change: Some(change),
        ..EventData::default()
    };
    let event = Event::new(EventType::ConnectorChanged, None, data);
    Ok(broadcast(resources, writes, &event, is_draft).await?)
}
