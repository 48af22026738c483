//! The feed of an org: the ends of its accepted runs in the order in which they were stored, read from a place on, and
//! waited for.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::fault::Code;
use portcullis_core::id::OrgId;
use portcullis_store::{JobName, OutboxCut, OutboxEntry, OutboxPage};
use tokio::sync::broadcast;
use tokio::time::{Instant, interval_at, sleep_until};

use super::reading::LOOK;
use crate::caller::{Caller, ORG};
use crate::clock::{DAY_MS, now_ms};
use crate::engine::Engine;
use crate::error::Error;

/// What is read of a feed.
#[derive(Debug, Clone)]
pub struct FeedWish {
    /// `next` of an earlier page; from the oldest entry on without it.
    pub after: Option<String>,
    /// Maximum entries, 1 to 100.
    pub limit: usize,
    /// Seconds to wait at most if there is none.
    pub wait_s: u64,
}

/// A page of a feed.
#[derive(Debug, Clone)]
pub struct RunFeed {
    pub entries: Vec<OutboxEntry>,
    pub has_more: bool,
    /// Where the next page begins.
    pub next: String,
    /// Whether entries after the place that was asked for were dropped before they could be read.
    pub has_gap: bool,
    /// Entries that were ever dropped.
    pub dropped: u64,
}

/// Reads an org's feed from a place on; waits for an entry if there is none.
///
/// # Errors
/// Those of [`Caller::authorise`], `bad_request` for a place that is none and a wait that is too long,
/// `store_unavailable`.
pub async fn feed(engine: &Engine, caller: &Caller, org: &OrgId, wish: &FeedWish) -> Result<RunFeed, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    let most = engine.limits().run_wait_s;
    if wish.wait_s > most {
        let detail = format!("wait may be at most {most} seconds (limits.run_wait_s)");
        return Err(Error::new(Code::BadRequest, detail));
    }
    let after = place(wish.after.as_deref())?;
    // Why before it is read: an end in between is not missed.
    let ended = engine.jobs.ended.subscribe();
    let page = engine.jobs.outbox.read(org, after, wish.limit).await?;
    if wish.wait_s == 0 || !page.entries.is_empty() {
        return Ok(RunFeed::of(page, after));
    }
    let Ok(_place) = Arc::clone(&engine.jobs.waiters).try_acquire_owned() else {
        return Ok(RunFeed::of(page, after));
    };
    let until = Instant::now() + Duration::from_secs(wish.wait_s);
    wait(engine, org, after, wish.limit, ended, until).await
}

async fn wait(
    engine: &Engine,
    org: &OrgId,
    after: u64,
    limit: usize,
    mut ended: broadcast::Receiver<JobName>,
    until: Instant,
) -> Result<RunFeed, Error> {
    let shared = engine.resources.records.store().is_shared();
    let mut looks = interval_at(Instant::now() + LOOK, LOOK);
    loop {
        let is_over = tokio::select! {
            end = ended.recv() => match end {
                Ok(job) if job.org != *org => continue,
                // Why also after too many ends: one of the org may have been among them.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => false,
                Err(broadcast::error::RecvError::Closed) => true,
            },
            _ = looks.tick(), if shared => false,
            () = engine.jobs.stop.cancelled() => true,
            () = sleep_until(until) => true,
        };
        let page = engine.jobs.outbox.read(org, after, limit).await?;
        if is_over || !page.entries.is_empty() {
            return Ok(RunFeed::of(page, after));
        }
    }
}

/// The number in a place as it was told.
fn place(text: Option<&str>) -> Result<u64, Error> {
    let Some(text) = text else { return Ok(0) };
    // Why compared as text: "01" and "+1" are read as 1 and were never told.
    let seq = text.parse::<u64>().ok().filter(|seq| seq.to_string() == text);
    seq.ok_or_else(|| Error::new(Code::BadRequest, "starting_after is no `next` of this feed"))
}

impl RunFeed {
    fn of(page: OutboxPage, after: u64) -> Self {
        let OutboxPage { entries, has_more, has_gap, dropped } = page;
        let next = entries.last().map_or(after, |last| last.seq).to_string();
        Self { entries, has_more, next, has_gap, dropped }
    }
}

/// Drops entries that are too old or too many, of all orgs.
///
/// # Errors
/// `store_unavailable`; the next sweep goes on.
pub(super) async fn trim(engine: &Engine) -> Result<(), Error> {
    let limits = engine.limits();
    let before_ms = now_ms().saturating_sub(limits.outbox_days.saturating_mul(DAY_MS));
    let cut = OutboxCut { before_ms, entries: limits.outbox_entries };
    for org in engine.jobs.outbox.orgs().await? {
        if let Err(error) = engine.jobs.outbox.trim(&org, cut).await {
            tracing::error!(%org, %error, "old entries of a feed could not be dropped");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_number_as_it_was_told() {
        assert_eq!(place(None).unwrap(), 0);
        assert_eq!(place(Some("17")).unwrap(), 17);
        for text in ["", "017", "+1", "-1", "x", "18446744073709551616"] {
            assert_eq!(place(Some(text)).unwrap_err().code, Code::BadRequest, "{text}");
        }
    }
}
