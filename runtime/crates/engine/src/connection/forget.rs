//! Forgetting connections: the one list of what is stored for a connection, and the use case.

use portcullis_store::{ConnectorSetting, CredentialState, DiscoveredConfig, TokenState, Writes};

use super::Subject;
use crate::caller::Caller;
use crate::engine::Engine;
use crate::error::Error;
use crate::oauth::renewal;
use crate::resources::Resources;
use crate::tenants::Tenant;

/// Forgets a connection: its token is revoked if the definition says where, and everything stored is deleted. For
/// one that was never saved there is nothing to do.
///
/// # Errors
/// Those of [`Caller::authorise`], `connector_not_found`, `store_unavailable`.
pub async fn forget(engine: &Engine, caller: &Caller, tenant: &Tenant, connector: &str) -> Result<(), Error> {
    let subject = Subject::find(engine, caller, tenant, connector).await?;
    let connection = subject.load(engine).await?;
    if connection.stored.setting.is_none() {
        return Ok(());
    }
    renewal::revoke(&engine.resources, &connection).await;
    let parts = subject.key.parts();
    let writes = Writes::new()
        .delete::<ConnectorSetting>(&parts)
        .delete::<CredentialState>(&parts)
        .delete::<TokenState>(&parts)
        .delete::<DiscoveredConfig>(&parts);
    engine.resources.commit(writes).await?;
    Ok(())
}

/// Forgets these connections, each given as the parts of its key.
///
/// # Errors
/// `store_unavailable`; some may be deleted already.
pub(crate) async fn delete_all(resources: &Resources, keys: &[Vec<String>]) -> Result<(), Error> {
    resources.delete_each::<ConnectorSetting>(keys).await?;
    resources.delete_each::<CredentialState>(keys).await?;
    resources.delete_each::<TokenState>(keys).await?;
    resources.delete_each::<DiscoveredConfig>(keys).await?;
    Ok(())
}

/// Forgets every connection below these parts.
///
/// # Errors
/// As for [`delete_all`].
pub(crate) async fn delete_below(resources: &Resources, parts: &[&str]) -> Result<(), Error> {
    resources.delete_below::<ConnectorSetting>(parts).await?;
    resources.delete_below::<CredentialState>(parts).await?;
    resources.delete_below::<TokenState>(parts).await?;
    resources.delete_below::<DiscoveredConfig>(parts).await?;
    Ok(())
}
