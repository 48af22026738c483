//! The revisions of a connector, each as it was saved.

use portcullis_core::fault::Code;
use portcullis_store::ConnectorRevision;

use super::find;
use crate::caller::Caller;
use crate::engine::Engine;
use crate::error::Error;
use crate::page::{Page, PageRequest};

/// Lists a connector's revisions, oldest first; a cursor is a revision's number.
///
/// # Errors
/// `role_not_allowed`, `connector_not_found`, `bad_request` for a cursor that is not a number.
pub async fn list_revisions(
    engine: &Engine,
    caller: &Caller,
    id: &str,
    wanted: &PageRequest,
) -> Result<Page<ConnectorRevision>, Error> {
    caller.platform()?;
    let resources = &engine.resources;
    let (record, _) = find(resources, id).await?;
    let not_a_number = |_| Error::new(Code::BadRequest, "starting_after must be a revision number");
    let after = wanted.after().map(str::parse::<u64>).transpose().map_err(not_a_number)?;
    let after = after.map(ConnectorRevision::part);
    let parts = [record.connector_id.as_str()];
    let found =
        resources.records.list::<ConnectorRevision>(&parts, after.as_deref(), wanted.wanted()).await?;
    Ok(wanted.page(found.into_iter().map(|(_, revision, _)| revision).collect()))
}

/// Reads one revision.
///
/// # Errors
/// `role_not_allowed`, `connector_not_found`, `not_found`.
pub async fn show_revision(
    engine: &Engine,
    caller: &Caller,
    id: &str,
    number: &str,
) -> Result<ConnectorRevision, Error> {
    caller.platform()?;
    let resources = &engine.resources;
    let (record, _) = find(resources, id).await?;
    let missing = || Error::new(Code::NotFound, "the connector has no such revision");
    let number: u64 = number.parse().map_err(|_| missing())?;
    let parts = [record.connector_id.as_str(), &ConnectorRevision::part(number)];
    let found = resources.records.get::<ConnectorRevision>(&parts).await?;
    found.map(|(revision, _)| revision).ok_or_else(missing)
}
