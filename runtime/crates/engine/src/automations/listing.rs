//! Lists of automations, as far as a caller's token covers them.

use portcullis_core::id::OrgId;
use portcullis_store::AutomationRecord;

use super::{Automation, Destination};
use crate::caller::{Caller, ORG_RUN};
use crate::engine::Engine;
use crate::error::Error;
use crate::page::{Page, PageRequest};

/// Lists an org's automations.
///
/// # Errors
/// Those of [`Caller::authorise`], `store_unavailable`.
pub async fn list(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    wanted: &PageRequest,
) -> Result<Page<Automation>, Error> {
    caller.authorise(ORG_RUN, Some(org.as_str()), None)?;
    let records = &engine.resources.records;
    let is_covered = |record: &AutomationRecord| {
        let to = Destination::of(&record.definition);
        caller.covers(to.connector_id, to.action_id, Some(record.automation_id.as_str()))
    };
    let mut all = Vec::new();
    let mut after = wanted.after.clone();
    // Why on and on: what is left out must not end the page before the list does.
    while all.len() < wanted.wanted() {
        let found =
            records.list::<AutomationRecord>(&[org.as_str()], after.as_deref(), wanted.wanted()).await?;
        let Some((last, _, _)) = found.last() else { break };
        after = Some(last.clone());
        let covered: Vec<_> = found.into_iter().map(|(_, record, _)| record).filter(is_covered).collect();
        for record in covered {
            all.push(Automation::read(&engine.resources, record).await?);
        }
    }
    Ok(wanted.page(all))
}
