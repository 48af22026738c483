//! Retention: how long runs, ledgers and inputs are kept, and the sweep that drops what is older.
//!
//! An org and the platform each set terms, and the shorter one counts. The ledger is kept for the platform's least
//! number of days whatever else is set. A shorter term counts one day after it was set, so that a mistake, or somebody
//! with a stolen token, deletes nothing before a person can see it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portcullis_core::fault::Code;
use portcullis_core::id::OrgId;
use portcullis_core::limits::Limits;
use portcullis_core::violation::{Violation, Violations};
use portcullis_store::{LedgerCut, OrgRecord, RunCut, StoreError, Writes};
pub use portcullis_store::{RetentionChange, RetentionRecord, RetentionTerms};

use crate::caller::{Caller, ORG};
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::jobs;

/// Days that records of the ledger are kept at least, unless the platform sets another number: a monthly review still
/// finds them.
pub const LEDGER_DAYS_MIN: u32 = 30;
/// The longest term, in days: a century, so that arithmetic on times stays within what they can say.
pub const DAYS_MAX: u32 = 36_500;
/// The least number of bytes: below it, a limit would drop what a single call writes.
pub const BYTES_MIN: u64 = 1024 * 1024;
/// How long a longer term still counts after a shorter one was set.
const NOTICE: SignedDuration = SignedDuration::from_hours(24);
/// Changes that a record shows. Of earlier ones, the longest terms count until their notice is over.
const CHANGES_MAX: usize = 20;
/// How often a change is tried while others are made at the same time.
const SETS_MAX: usize = 10;
/// A file that is written to is closed once it has a record of more than a day, so that data outlives its term by
/// little more than that.
const FILE_DAYS: u32 = 1;

/// What is set, and what is in force.
#[derive(Debug, Clone)]
pub struct Retention {
    pub set: RetentionRecord,
    pub in_force: RetentionTerms,
}

impl Retention {
    /// What is set now.
    #[must_use]
    pub fn terms(&self) -> RetentionTerms {
        self.set.changes.last().map(|change| change.terms).unwrap_or_default()
    }
}

/// Whose terms.
#[derive(Debug, Clone, Copy)]
enum Owner<'a> {
    Org(&'a OrgId),
    Platform,
}

impl Owner<'_> {
    fn parts(&self) -> Vec<&str> {
        match self {
            Self::Org(org) => vec!["org", org.as_str()],
            Self::Platform => vec!["platform"],
        }
    }
}

/// The parts of an org's record, for its deletion.
pub(crate) fn parts_of(org: &OrgId) -> [&str; 2] {
    ["org", org.as_str()]
}

/// Reads an org's terms.
///
/// # Errors
/// Those of [`Caller::authorise`], `store_unavailable`.
pub async fn show(engine: &Engine, caller: &Caller, org: &OrgId) -> Result<Retention, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    let set = record(engine, Owner::Org(org)).await?;
    Ok(Retention { set, in_force: in_force(engine, org).await? })
}

/// Reads the platform's terms.
///
/// # Errors
/// `role_not_allowed`, `store_unavailable`.
pub async fn show_platform(engine: &Engine, caller: &Caller) -> Result<Retention, Error> {
    caller.platform()?;
    let set = record(engine, Owner::Platform).await?;
    let in_force = least(RetentionTerms::default(), effective(&set, Timestamp::now()));
    Ok(Retention { set, in_force: within(in_force, engine.limits()) })
}

/// Sets an org's terms.
///
/// # Errors
/// Those of [`Caller::authorise`], `validation_failed`, `store_unavailable`.
pub async fn replace(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    terms: RetentionTerms,
) -> Result<Retention, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    set(engine, caller, Owner::Org(org), RetentionTerms { ledger_days_min: None, ..terms }).await?;
    show(engine, caller, org).await
}

/// Sets the platform's terms.
///
/// # Errors
/// `role_not_allowed`, `validation_failed`, `store_unavailable`.
pub async fn replace_platform(
    engine: &Engine,
    caller: &Caller,
    terms: RetentionTerms,
) -> Result<Retention, Error> {
    caller.platform()?;
    set(engine, caller, Owner::Platform, terms).await?;
    show_platform(engine, caller).await
}

/// The terms that count for an org.
pub(crate) async fn in_force(engine: &Engine, org: &OrgId) -> Result<RetentionTerms, Error> {
    let now = Timestamp::now();
    let own = effective(&record(engine, Owner::Org(org)).await?, now);
    let platform = effective(&record(engine, Owner::Platform).await?, now);
    Ok(within(least(own, platform), engine.limits()))
}

/// Terms under the process's limits: inputs are kept for a time whatever is set.
fn within(terms: RetentionTerms, limits: &Limits) -> RetentionTerms {
    let most = u32::try_from(limits.input_days).unwrap_or(DAYS_MAX);
    RetentionTerms { input_days: Some(terms.input_days.map_or(most, |days| days.min(most))), ..terms }
}

async fn record(engine: &Engine, owner: Owner<'_>) -> Result<RetentionRecord, Error> {
    let found = engine.resources.records.get::<RetentionRecord>(&owner.parts()).await?;
    Ok(found.map(|(record, _)| record).unwrap_or_default())
}

async fn set(engine: &Engine, caller: &Caller, owner: Owner<'_>, terms: RetentionTerms) -> Result<(), Error> {
    let violations = violations(&terms);
    if !violations.is_empty() {
        return Err(Error::violations(Code::ValidationFailed, violations));
    }
    let token_id = caller.token_id.clone();
    let by = token_id.as_ref().map_or("the operator", |token| token.as_str());
    let change = RetentionChange { terms, at: clock::now(), token_id: token_id.clone() };
    for _ in 0..SETS_MAX {
        let parts = owner.parts();
        let found = engine.resources.records.get::<RetentionRecord>(&parts).await?;
        let (mut record, commit) =
            found.map_or_else(Default::default, |(record, commit)| (record, Some(commit)));
        add(&mut record, change.clone());
        // Why not over any other: a change that is lost could make a shorter term count early.
        let writes = match commit {
            Some(commit) => Writes::new().replace(&parts, &record, commit),
            None => Writes::new().create(&parts, &record),
        };
        match engine.resources.commit(writes).await {
            Err(StoreError::Conflict { .. }) => {}
            done => {
                done?;
                tracing::info!(owner = parts.join("/"), by, ?terms, "terms of retention were set");
                return Ok(());
            }
        }
    }
    Err(Error::new(Code::StoreUnavailable, "others set these terms at the same time; try again"))
}

fn violations(terms: &RetentionTerms) -> Vec<Violation> {
    let mut violations = Violations::default();
    let days = [
        ("/runs_days", terms.runs_days),
        ("/ledger_days", terms.ledger_days),
        ("/input_days", terms.input_days),
        ("/ledger_days_min", terms.ledger_days_min),
    ];
    for (pointer, days) in days {
        if let Some(days) = days.filter(|days| !(1..=DAYS_MAX).contains(days)) {
            let message = format!("is {days}; it must be 1 to {DAYS_MAX} days");
            violations.push(Violation::new(pointer, "out_of_range", message));
        }
    }
    if let Some(bytes) = terms.bytes.filter(|bytes| *bytes < BYTES_MIN) {
        let message = format!("is {bytes}; it must be at least {BYTES_MIN}");
        violations.push(Violation::new("/bytes", "out_of_range", message));
    }
    violations.into_vec()
}

/// Adds a change. One that finds no room any more still counts for its notice: what it said is not forgotten early.
fn add(record: &mut RetentionRecord, change: RetentionChange) {
    record.changes.push(change);
    while record.changes.len() > CHANGES_MAX {
        let oldest = record.changes.remove(0);
        // It counts until a day after the next change replaced it; that change is the first of the list now.
        let replaced_at = record.changes.first().map_or_else(|| oldest.at.clone(), |next| next.at.clone());
        let terms = match &record.before {
            Some(before) if counts_at(&before.at, Timestamp::now()) => longest(before.terms, oldest.terms),
            // Before the first change there was no limit at all.
            None if counts_at(&oldest.at, Timestamp::now()) => {
                longest(RetentionTerms::default(), oldest.terms)
            }
            _ => oldest.terms,
        };
        record.before = Some(RetentionChange { terms, at: replaced_at, token_id: oldest.token_id });
    }
}

/// Whether terms that were replaced at this time still count.
fn counts_at(replaced_at: &str, now: Timestamp) -> bool {
    // Why: a time that cannot be read counts, because what is kept too long can still be dropped.
    replaced_at.parse::<Timestamp>().map_or(true, |at| now.duration_since(at) < NOTICE)
}

/// The terms that count now: of each, the longest that was set within the last day.
fn effective(record: &RetentionRecord, now: Timestamp) -> RetentionTerms {
    let Some(current) = record.changes.last() else { return RetentionTerms::default() };
    let mut terms = current.terms;
    for pair in record.changes.windows(2) {
        if let [earlier, next] = pair
            && counts_at(&next.at, now)
        {
            terms = longest(terms, earlier.terms);
        }
    }
    match &record.before {
        Some(before) if counts_at(&before.at, now) => longest(terms, before.terms),
        // Before the first change there was no limit at all.
        None if counts_at(&record.changes.first().unwrap_or(current).at, now) => {
            longest(terms, RetentionTerms::default())
        }
        _ => terms,
    }
}

fn longest(a: RetentionTerms, b: RetentionTerms) -> RetentionTerms {
    fn longer<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
        Some(a?.max(b?))
    }
    let least_days = |terms: &RetentionTerms| terms.ledger_days_min.unwrap_or(LEDGER_DAYS_MIN);
    RetentionTerms {
        runs_days: longer(a.runs_days, b.runs_days),
        ledger_days: longer(a.ledger_days, b.ledger_days),
        input_days: longer(a.input_days, b.input_days),
        bytes: longer(a.bytes, b.bytes),
        // Why not none: no number of one's own is the default, and not for ever.
        ledger_days_min: Some(least_days(&a).max(least_days(&b))),
    }
}

/// The terms of an org under those of the platform.
fn least(own: RetentionTerms, platform: RetentionTerms) -> RetentionTerms {
    fn shorter<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
        a.into_iter().chain(b).min()
    }
    let least_days = platform.ledger_days_min.unwrap_or(LEDGER_DAYS_MIN);
    RetentionTerms {
        runs_days: shorter(own.runs_days, platform.runs_days),
        ledger_days: shorter(own.ledger_days, platform.ledger_days).map(|days| days.max(least_days)),
        input_days: shorter(own.input_days, platform.input_days),
        bytes: shorter(own.bytes, platform.bytes),
        ledger_days_min: Some(least_days),
    }
}

/// What a sweep dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Files of runs.
    pub run_files: u64,
    /// Segments of ledgers.
    pub ledger_segments: u64,
}

/// Drops what is older than its term, of all orgs, while calls run. What fails for one org is logged, and tried again by
/// the next sweep.
///
/// # Errors
/// `store_unavailable`, `ledger_unavailable` if the orgs cannot be listed.
pub async fn sweep(engine: &Engine) -> Result<Swept, Error> {
    // Why both: the ledger of an org outlives it, and an org whose calls were never sent has runs alone.
    let mut orgs = engine.resources.ledger.orgs().await?;
    let records = engine.resources.records.filter::<OrgRecord>(&[], |_, _| true).await?;
    orgs.extend(records.into_iter().map(|(_, record, _)| record.org));
    let mut swept = Swept::default();
    for org in orgs {
        match sweep_org(engine, &org).await {
            Ok(Swept { run_files, ledger_segments }) => {
                swept.run_files += run_files;
                swept.ledger_segments += ledger_segments;
                if (run_files, ledger_segments) != (0, 0) {
                    tracing::info!(%org, run_files, ledger_segments, "old files were dropped");
                }
            }
            Err(error) => tracing::error!(%org, error = error.detail, "old files could not be dropped"),
        }
    }
    Ok(swept)
}

async fn sweep_org(engine: &Engine, org: &OrgId) -> Result<Swept, Error> {
    let terms = in_force(engine, org).await?;
    if let Err(error) = jobs::shorten(engine, org, &terms).await {
        // Why it goes on: what follows does not depend on it, and the next sweep tries again.
        tracing::error!(%org, error = error.detail, "accepted runs may be kept longer than their term");
    }
    if (terms.runs_days, terms.ledger_days, terms.bytes) == (None, None, None) {
        return Ok(Swept::default());
    }
    let ledger = &engine.resources.ledger;
    let now = Timestamp::now();
    let close_before = days_before(now, FILE_DAYS).map(text);
    let by_age = LedgerCut {
        before: terms.ledger_days.and_then(|days| days_before(now, days)).map(text),
        close_before: close_before.clone(),
        ..LedgerCut::default()
    };
    let kept = ledger.retain(org, &by_age).await?;
    let cut = RunCut {
        before_us: terms.runs_days.and_then(|days| days_before(now, days)).map(micros),
        // Why runs first: the ledger is the proof of what happened.
        bytes: terms.bytes.map(|bytes| bytes.saturating_sub(kept.bytes)),
        close_before_us: days_before(now, FILE_DAYS).map(micros),
    };
    let runs = engine.runs.retain(org, &cut).await?;
    let mut segments = kept.segments_dropped;
    if let Some(most) = terms.bytes.filter(|most| runs.bytes.saturating_add(kept.bytes) > *most) {
        let least_days = terms.ledger_days_min.unwrap_or(LEDGER_DAYS_MIN);
        let by_bytes = LedgerCut {
            bytes: Some(most.saturating_sub(runs.bytes)),
            bytes_before: days_before(now, least_days).map(text),
            close_before,
            ..LedgerCut::default()
        };
        segments += ledger.retain(org, &by_bytes).await?.segments_dropped;
    }
    Ok(Swept { run_files: runs.dropped, ledger_segments: segments as u64 })
}

fn days_before(now: Timestamp, days: u32) -> Option<Timestamp> {
    now.checked_sub(Duration::from_secs(u64::from(days) * 24 * 60 * 60)).ok()
}

/// In the ledger's form.
fn text(at: Timestamp) -> String {
    format!("{at:.6}")
}

fn micros(at: Timestamp) -> u64 {
    u64::try_from(at.as_microsecond()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
