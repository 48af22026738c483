//! Which revisions of definitions accepted runs name: those that can be taken up again with the definition they had.

use std::collections::BTreeSet;

use portcullis_core::id::{ConnectorId, OrgId};
use portcullis_store::OrgRecord;

use super::detail::Detail;
use crate::engine::Engine;
use crate::error::Error;

/// Jobs read at a time.
const PAGE: usize = 100;

/// The revisions of all accepted runs that are open, or whose input is kept.
///
/// # Errors
/// Those of the store, and `internal` for a job that cannot be read: what it names is not known then.
pub(crate) async fn named_revisions(engine: &Engine) -> Result<BTreeSet<(ConnectorId, u64)>, Error> {
    let mut named = BTreeSet::new();
    let orgs = engine.resources.records.filter::<OrgRecord>(&[], |_, _| true).await?;
    for (_, OrgRecord { org, .. }, _) in orgs {
        of_org(engine, &org, &mut named).await?;
    }
    Ok(named)
}

async fn of_org(engine: &Engine, org: &OrgId, named: &mut BTreeSet<(ConnectorId, u64)>) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = engine.jobs.store.list(org, None, after.as_ref(), PAGE).await?;
        for job in page.iter().filter(|job| job.state.is_open() || job.keeps_input()) {
            let detail = Detail::of(job)?;
            let pinned = detail.pinned().map(|pinned| pinned.revision);
            for revision in pinned.into_iter().chain([detail.revision]) {
                named.insert((detail.connector_id.clone(), revision));
            }
        }
        let Some(last) = page.last().filter(|_| page.len() == PAGE) else { return Ok(()) };
        after = Some((last.workspace.clone(), last.run_id.clone()));
        tokio::task::yield_now().await;
    }
}
