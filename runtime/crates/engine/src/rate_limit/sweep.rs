//! Forgets the records of budgets that say nothing any more.

use portcullis_store::{Document, RateRecord, SlotsRecord, StoreError, Writes};

use crate::clock::now_ms;
use crate::engine::Engine;
use crate::nodes::CLOCK_SKEW_MAX;
use crate::resources::Resources;

/// Records read at a time.
const PAGE: usize = 200;

/// Forgets them.
///
/// # Errors
/// Those of the store; the next sweep goes on.
pub(crate) async fn sweep(engine: &Engine) -> Result<(), StoreError> {
    let resources = &engine.resources;
    if !resources.records.store().is_shared() {
        return Ok(());
    }
    forget::<RateRecord>(resources, |record| record.over_ms).await?;
    forget::<SlotsRecord>(resources, |record| record.over_ms).await
}

async fn forget<T: Document>(resources: &Resources, over_ms: impl Fn(&T) -> u64) -> Result<(), StoreError> {
    let skew = u64::try_from(CLOCK_SKEW_MAX.as_millis()).unwrap_or(u64::MAX);
    let mut after: Option<String> = None;
    loop {
        let page = resources.records.list::<T>(&[], after.as_deref(), PAGE).await?;
        let now = now_ms();
        for (budget, record, commit) in &page {
            if over_ms(record).saturating_add(skew) >= now {
                continue;
            }
            let parts = [budget.as_str()];
            let writes = Writes::new().require_revision::<T>(&parts, *commit).delete::<T>(&parts);
            match resources.commit(writes).await {
                // It is used again.
                Ok(_) | Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let Some((last, ..)) = page.last().filter(|_| page.len() == PAGE) else { return Ok(()) };
        after = Some(last.clone());
    }
}
