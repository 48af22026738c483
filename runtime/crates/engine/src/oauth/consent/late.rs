//! Consents that nobody finished: what is left of them is deleted.

use portcullis_store::{PendingConsent, Writes};

use crate::clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::resources::Resources;

/// Unfinished consents that are looked at together.
const LATE_MAX: usize = 100;

/// The writes that delete unfinished expired consents, so that they do not accumulate.
pub(super) async fn forget_late(resources: &Resources) -> Result<Writes, Error> {
    let pending = resources.records.list::<PendingConsent>(&[], None, LATE_MAX).await?;
    let late = pending.iter().filter(|(_, consent, _)| clock::has_passed(&consent.expires_at));
    Ok(late.fold(Writes::new(), |writes, (key, _, _)| writes.delete::<PendingConsent>(&[key.as_str()])))
}

/// Deletes unfinished consents that have expired.
///
/// # Errors
/// `store_unavailable`; the next sweep goes on.
pub async fn sweep(engine: &Engine) -> Result<(), Error> {
    let resources = &engine.resources;
    let mut after: Option<String> = None;
    loop {
        let page = resources.records.list::<PendingConsent>(&[], after.as_deref(), LATE_MAX).await?;
        let late = page.iter().filter(|(_, consent, _)| clock::has_passed(&consent.expires_at));
        let keys: Vec<Vec<String>> = late.map(|(key, ..)| vec![key.clone()]).collect();
        resources.delete_each::<PendingConsent>(&keys).await?;
        let Some((last, ..)) = page.last().filter(|_| page.len() == LATE_MAX) else { return Ok(()) };
        after = Some(last.clone());
    }
}
