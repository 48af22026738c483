//! Who is told of changes of connectors: webhooks, and the audit logs of orgs that lose something by one.

use std::collections::BTreeSet;

use portcullis_core::id::{ConnectorId, OrgId};
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

/// Writes to the audit log of each org whose connections or automations a deletion takes, which are given by their keys.
///
/// # Errors
/// `store_unavailable`; nothing must be deleted then.
pub(super) async fn record_losses(
    resources: &Resources,
    connector: &ConnectorId,
    lost: &[&[Vec<String>]],
) -> Result<(), Error> {
    let orgs: BTreeSet<&String> = lost.iter().copied().flatten().filter_map(|key| key.first()).collect();
    for org in orgs {
        resources.record_act(&OrgId::parse(org)?, format!("connector/{connector}")).await?;
    }
    Ok(())
}
