//! What an org's automations, or one of its run tokens, can call: connectors and actions, with what the org's rules say.

use std::sync::Arc;

use portcullis_core::connector::Action;
use portcullis_core::fault::Code;
use portcullis_core::id::OrgId;
use portcullis_core::org_rules::Asked;

use super::{LoadedConnector, visible_where};
use crate::call::org_rules::asked_of;
use crate::caller::{Caller, ORG_RUN};
use crate::engine::Engine;
use crate::error::Error;
use crate::page::{Page, PageRequest};

/// A connector that an org, or one of its run tokens, may call.
pub struct Pickable {
    pub loaded: Arc<LoadedConnector>,
    /// Why the org's rules forbid all of it.
    pub refusal: Option<Code>,
    /// Its actions that are offered and that the caller's token covers.
    pub actions: Vec<PickableAction>,
}

/// An action of a connector that may be called.
pub struct PickableAction {
    /// Where it is among the connector's actions.
    pub index: usize,
    /// Why the org's rules forbid it.
    pub refusal: Option<Code>,
}

/// The connectors that an org's automations can use, with what its rules say of them; for a run token those that it may
/// call.
///
/// # Errors
/// Those of [`Caller::authorise`], `store_unavailable`.
pub async fn list_pickable(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    wanted: &PageRequest,
) -> Result<Page<Pickable>, Error> {
    caller.authorise(ORG_RUN, Some(org.as_str()), None)?;
    let resources = &engine.resources;
    let policy = resources.cache.policy(org.as_str()).await?;
    let is_covered =
        |loaded: &LoadedConnector| caller.is_unlimited() || covered(loaded, caller).next().is_some();
    let found = visible_where(resources, wanted, |record| record.enabled, is_covered).await?;
    let pickable = found.into_iter().map(|loaded| {
        let id = loaded.connector.id.as_str();
        let actions = covered(&loaded, caller).map(|(index, action)| {
            let asked = asked_of(action);
            PickableAction { index, refusal: policy.rules.judge(id, asked).refusal() }
        });
        let (actions, refusal) = (actions.collect(), policy.rules.judge(id, Asked::Connection).refusal());
        Pickable { loaded, refusal, actions }
    });
    Ok(wanted.page(pickable.collect()))
}

/// The actions of a connector that are offered and that a caller's token covers.
fn covered<'c>(loaded: &'c LoadedConnector, caller: &'c Caller) -> impl Iterator<Item = (usize, &'c Action)> {
    let connector = &loaded.connector;
    let offered = connector.actions.iter().enumerate().filter(|(_, action)| !action.hidden);
    offered.filter(|(_, action)| caller.covers(connector.id.as_str(), action.id.as_str(), None))
}
