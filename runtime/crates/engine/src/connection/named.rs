//! Named connections: several of one connector in one workspace, beside the default one. Each is saved, shown, verified
//! and forgotten as the default one is; what only they have is here: that they are listed, and bounded.

use portcullis_core::fault::Code;
use portcullis_core::violation::Violation;
use portcullis_store::ConnectorSetting;

use super::{Connection, ConnectionKey, Subject};
use crate::caller::Caller;
use crate::engine::Engine;
use crate::error::Error;
use crate::page::{Page, PageRequest};
use crate::tenants::Tenant;

/// The named connections of a connector in a workspace, in the order of their names; the default one is not in it.
///
/// # Errors
/// Those of [`Caller::authorise`], `connector_not_found`, `store_unavailable`.
pub async fn list(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    connector: &str,
    wanted: &PageRequest,
) -> Result<Page<Connection>, Error> {
    let Subject { key, loaded } = Subject::find(engine, caller, tenant, connector).await?;
    let after = wanted.after().map(|name| vec![name.to_owned()]);
    let records = &engine.resources.records;
    let found = records.keys::<ConnectorSetting>(&key.parts(), after.as_deref(), wanted.wanted()).await?;
    let mut connections = Vec::with_capacity(found.len());
    for rest in &found {
        let parts: Vec<&str> = key.parts().iter().copied().chain(rest.iter().map(String::as_str)).collect();
        let Some(key) = ConnectionKey::of_parts(&parts) else { continue };
        let subject = Subject { key, loaded: std::sync::Arc::clone(&loaded) };
        connections.push(subject.view(engine).await?);
    }
    Ok(wanted.page(connections))
}

/// Checks that a workspace has room for one more named connection of a connector. Saves at the same time are each
/// admitted by what was there before them.
///
/// # Errors
/// `validation_failed` with the limit, `store_unavailable`.
pub(super) async fn has_room(engine: &Engine, key: &ConnectionKey) -> Result<(), Error> {
    let most = engine.limits().named_connections;
    let limit = usize::try_from(most).unwrap_or(usize::MAX);
    let all_of = ConnectionKey { name: None, ..key.clone() };
    let found = engine.resources.records.keys::<ConnectorSetting>(&all_of.parts(), None, limit).await?;
    if found.len() < limit {
        return Ok(());
    }
    let message = format!(
        "the workspace has {} named connections of this connector, the limit is {most} (limits.named_connections)",
        found.len()
    );
    Err(Error::violations(Code::ValidationFailed, vec![Violation::new("/connection", "too_many", message)]))
}
