//! Work that one of several nodes does: it has the duty for a while, and renews it each time. A node that is gone is
//! followed by another one when its time is over.
//!
//! Each of these works is harmless when two nodes do it at once, which may happen where clocks differ or a round takes
//! longer than its duty: records are changed under the revision that was read, and what is deleted twice is gone. One at a
//! time saves the store the work of the others.

use std::time::Duration;

use portcullis_store::{DutyRecord, Records, StoreError, Writes};

use super::CLOCK_SKEW_MAX;
use crate::clock::now_ms;
use crate::engine::Engine;

/// Rounds for which a duty is taken: one may be late, or take long.
const ROUNDS: u32 = 3;

/// What one node does for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Ended runs, entries of feeds, idempotency keys, and what was taken of vendors' budgets.
    Runs,
    /// Events that are remembered, consents that nobody finished, connect sessions.
    Sessions,
    /// Runs, ledgers and audit records beyond their terms.
    Retention,
    /// Deliveries to webhooks that are too old or too many.
    Webhooks,
}

impl Duty {
    const fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Sessions => "sessions",
            Self::Retention => "retention",
            Self::Webhooks => "webhooks",
        }
    }
}

/// Whether this node does a work this time, which is done once in `every`. One that cannot find out does nothing.
pub async fn is_on_duty(engine: &Engine, duty: Duty, every: Duration) -> bool {
    let (records, holder) = (&engine.resources.records, &engine.resources.holder);
    if !records.store().is_shared() {
        return true;
    }
    takes(records, holder, duty, every).await.unwrap_or_else(|error| {
        tracing::error!(%error, duty = duty.name(), "whose duty it is cannot be read");
        false
    })
}

/// Takes a duty, or keeps it; false if another node has it.
async fn takes(records: &Records, holder: &str, duty: Duty, every: Duration) -> Result<bool, StoreError> {
    let now = now_ms();
    let lasts = u64::try_from((every * ROUNDS).as_millis()).unwrap_or(u64::MAX);
    let own = DutyRecord { holder: holder.to_owned(), until_ms: now.saturating_add(lasts) };
    let parts = [duty.name()];
    let found = records.get::<DutyRecord>(&parts).await?;
    let writes = match found {
        None => Writes::new().create(&parts, &own),
        Some((other, _)) if other.holder != own.holder && !is_over(&other, now) => return Ok(false),
        Some((_, commit)) => Writes::new().replace(&parts, &own, commit),
    };
    match records.commit(writes).await {
        Ok(_) => Ok(true),
        // Another node was faster.
        Err(StoreError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether another node's time is over, whichever of the two clocks is right.
fn is_over(other: &DutyRecord, now_ms: u64) -> bool {
    let skew = u64::try_from(CLOCK_SKEW_MAX.as_millis()).unwrap_or(u64::MAX);
    now_ms > other.until_ms.saturating_add(skew)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portcullis_store::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn one_of_three_nodes_has_a_duty_and_another_follows_it() {
        let records = Records::new(Arc::new(MemoryStore::new()));
        let every = Duration::from_secs(60);
        let mut on_duty = Vec::new();
        for holder in ["a.1", "b.1", "c.1", "a.1"] {
            if takes(&records, holder, Duty::Runs, every).await.unwrap() {
                on_duty.push(holder);
            }
        }
        assert_eq!(on_duty, ["a.1", "a.1"], "whoever has it keeps it");
        assert!(takes(&records, "b.1", Duty::Webhooks, every).await.unwrap(), "each duty is one of its own");
        let ended = DutyRecord { holder: "a.1".to_owned(), until_ms: 1 };
        records.commit(Writes::new().put(&[Duty::Runs.name()], &ended)).await.unwrap();
        assert!(takes(&records, "b.1", Duty::Runs, every).await.unwrap());
        assert!(!takes(&records, "a.1", Duty::Runs, every).await.unwrap());
    }

    #[test]
    fn a_duty_is_over_for_another_node_only_after_what_clocks_may_differ() {
        let other = DutyRecord { holder: "a.1".to_owned(), until_ms: 1_000_000 };
        for (now_ms, over) in [(999_000, false), (1_000_001, false), (1_005_000, false), (1_005_001, true)] {
            assert_eq!(is_over(&other, now_ms), over, "{now_ms}");
        }
    }
}
