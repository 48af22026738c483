//! Revokes a token of a connection that is forgotten.

use std::sync::Arc;

use portcullis_core::id::RunId;

use super::client::openable;
use super::exchange;
use crate::clock;
use crate::connection::LoadedConnection;
use crate::resources::Resources;

/// Revokes a token (RFC 7009) if the definition says where. The result does not matter: the
/// connection is deleted here either way.
pub(crate) async fn revoke(resources: &Resources, connection: &LoadedConnection) {
    let loaded = Arc::clone(&connection.loaded);
    // Why: what is switched off, or blocked by the org, makes no request of any kind.
    if !loaded.connector.enabled || connection.require_allowed().is_err() {
        return;
    }
    let plan = connection.stored.chosen(&loaded.connector).auth.token.as_ref();
    let Some(step) = plan.and_then(|plan| plan.revoke.as_ref()) else { return };
    // Why not without its client: the request could not prove whose it is.
    if connection.stored.current_token().is_none_or(|token| token.sealed.is_none()) {
        return;
    }
    let Ok(run) = clock::fresh("run", RunId::parse) else { return };
    if let Err(failed) =
        exchange::follow(resources, connection, &[step], openable(resources, connection), &run).await
    {
        tracing::info!(reason = failed.reason, connector = %connection.key.connector, "a token could not be revoked");
    }
}
