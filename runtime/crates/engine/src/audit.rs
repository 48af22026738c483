//! Audit: the org's outbound ledger, read, exported, followed and verified; and which entries of the org's allowlist
//! were ever matched, and which hosts outside it were requested: what to remove, and what enforcing would refuse.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use portcullis_core::fault::Code;
use portcullis_core::host_pattern::HostPattern;
use portcullis_core::id::OrgId;
use portcullis_core::ledger::LedgerPhase;
use portcullis_core::sync::lock;
use portcullis_core::violation::nearest;
pub use portcullis_store::{
    BadRecord, ChainReport, LedgerCursor, LedgerLine, LedgerPage, LedgerQuery, VerifyReport,
};
use portcullis_store::{IntegrationSettings, LedgerError};
use tokio::sync::broadcast;

pub use self::walks::Place;
pub(crate) use self::walks::Walks;
use self::walks::through;
use crate::caller::{Caller, ORG};
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;

mod walks;

/// Receives the records of an export, oldest first; breaking ends it early.
pub type ExportSink = Box<dyn FnMut(&LedgerLine) -> ControlFlow<()> + Send>;

/// The query with its times in the ledger's form.
///
/// # Errors
/// `bad_request` for a time or a code that none is: it would match nothing, which looks like an empty ledger.
pub fn checked(query: &LedgerQuery) -> Result<LedgerQuery, Error> {
    let time = |name: &str, text: &Option<String>| match text.as_deref().map(clock::normal) {
        None => Ok(None),
        Some(Some(at)) => Ok(Some(at)),
        Some(None) => {
            let detail = format!("{name} must be an RFC 3339 time with a zone, such as 2026-01-31T09:00:00Z");
            Err(Error::new(Code::BadRequest, detail))
        }
    };
    if let Some(code) = &query.code
        && !Code::ALL.iter().any(|known| known.as_str() == code)
    {
        let near = nearest(code, Code::ALL.iter().map(|known| known.as_str()));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
        let detail = format!("code must be one that `portcullis codes` lists, such as host_not_in_org{hint}");
        return Err(Error::new(Code::BadRequest, detail));
    }
    let (since, until) = (time("since", &query.since)?, time("until", &query.until)?);
    Ok(LedgerQuery { since, until, ..query.clone() })
}

/// The place in the ledger that a caller names.
///
/// # Errors
/// `bad_request` for a text that is none.
pub fn cursor(text: &str) -> Result<LedgerCursor, Error> {
    LedgerCursor::parse(text).ok_or_else(unknown_cursor)
}

fn unknown_cursor() -> Error {
    Error::new(Code::BadRequest, "starting_after is no entry of this ledger, and not `next` of a page")
}

/// One page of an org's outbound attempts, newest first.
///
/// # Errors
/// Those of [`Caller::authorise`], `bad_request` for an unknown cursor, time or code, `ledger_unavailable`.
pub async fn list(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    query: &LedgerQuery,
) -> Result<LedgerPage, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    match engine.resources.ledger.read(org, &checked(query)?).await {
        Err(LedgerError::UnknownCursor) => Err(unknown_cursor()),
        page => Ok(page?),
    }
}

/// Passes every matching record to `sink`, as it is stored, so that the chain can be checked from the export.
/// `sink` may block. Begun by [`begin_export`], whose place is held to the end.
///
/// # Errors
/// Those of [`Caller::authorise`], `ledger_unavailable`.
pub async fn export(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    query: &LedgerQuery,
    sink: ExportSink,
    _place: &Place,
) -> Result<u64, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    Ok(engine.resources.ledger.export(org, &checked(query)?, sink).await?)
}

/// The org's records as they are appended from now on.
///
/// # Errors
/// Those of [`Caller::authorise`].
pub fn follow(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
) -> Result<broadcast::Receiver<Arc<LedgerLine>>, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    Ok(engine.resources.ledger.subscribe(org))
}

/// Takes a place for an export, and checks the org's hash chain: damage is an error here, because an export cannot take
/// back what it passed on already.
///
/// # Errors
/// Those of [`verify`], and `ledger_unavailable` for a chain that is damaged.
pub async fn begin_export(engine: &Engine, caller: &Caller, org: &OrgId) -> Result<Place, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    let place = engine.walks.export(org).await?;
    match verify(engine, caller, org).await?.bad {
        Some(bad) => Err(LedgerError::Damaged { org: org.clone(), bad }.into()),
        None => Ok(place),
    }
}

/// Checks the org's hash chain.
///
/// # Errors
/// Those of [`Caller::authorise`], `overloaded` while as many ledgers are checked as may be, `ledger_unavailable`; damage is
/// in the report.
pub async fn verify(engine: &Engine, caller: &Caller, org: &OrgId) -> Result<VerifyReport, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    let place = engine.walks.check(org).await?;
    let (ledger, org) = (Arc::clone(&engine.resources.ledger), org.clone());
    through(place, async move { ledger.verify(&org).await }).await
}

/// How the org's allowlist was used.
#[derive(Debug, Clone, Default)]
pub struct AllowlistUsage {
    /// Each entry of the list with its number of matches.
    pub entries: Vec<Use>,
    /// Origins outside the list that connectors allow.
    pub outside: Vec<Use>,
}

/// How often an entry was matched or an origin requested.
#[derive(Debug, Clone)]
pub struct Use {
    pub name: String,
    pub count: u64,
    /// Time of the last request, RFC 3339.
    pub last_at: Option<String>,
}

/// Maximum hosts outside the list that are shown; a longer list is not useful.
const OUTSIDE_MAX: usize = 1000;

#[derive(Default)]
struct Count {
    hits: u64,
    last_at: String,
}

impl Count {
    fn hit(&mut self, at: &str) {
        self.hits += 1;
        at.clone_into(&mut self.last_at);
    }
}

#[derive(Default)]
struct Counts {
    patterns: Vec<HostPattern>,
    entries: BTreeMap<String, Count>,
    outside: BTreeMap<String, Count>,
}

impl Counts {
    fn add(&mut self, line: &LedgerLine) {
        let event = &line.event;
        // Why: every attempt has exactly one record that is not its `begin`, unless it never ended.
        if event.phase == LedgerPhase::Begin {
            return;
        }
        // Only what passed the connector's list: no list of the org would change the rest.
        if event.matched_connector.is_none() {
            return;
        }
        // Why by the current list and not by the one of that time: the question is what to change now.
        let host =
            event.origin.strip_prefix("https://").unwrap_or_default().split(':').next().unwrap_or_default();
        match self.patterns.iter().find(|pattern| pattern.matches(host)) {
            Some(pattern) => self.entries.entry(pattern.to_string()).or_default().hit(&event.at),
            None if self.outside.len() < OUTSIDE_MAX || self.outside.contains_key(&event.origin) => {
                self.outside.entry(event.origin.clone()).or_default().hit(&event.at);
            }
            None => {}
        }
    }
}

/// Counts from the ledger how the org's allowlist was used.
///
/// # Errors
/// Those of [`Caller::authorise`], `overloaded` as for [`verify`], `ledger_unavailable`, `store_unavailable`.
pub async fn allowlist_usage(engine: &Engine, caller: &Caller, org: &OrgId) -> Result<AllowlistUsage, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    let resources = &engine.resources;
    let settings = resources.records.get::<IntegrationSettings>(&[org.as_str()]).await?.map(|(s, _)| s);
    let place = engine.walks.check(org).await?;
    let list = settings.and_then(|s| s.domain_allowlist).unwrap_or_default();
    let patterns = list.iter().filter_map(|entry| HostPattern::parse(entry).ok()).collect();
    let counts = Arc::new(Mutex::new(Counts { patterns, ..Counts::default() }));
    let sink = Arc::clone(&counts);
    let count = Box::new(move |line: &LedgerLine| {
        lock(&sink).add(line);
        ControlFlow::Continue(())
    });
    let (ledger, org) = (Arc::clone(&resources.ledger), org.clone());
    through(place, async move { ledger.export(&org, &LedgerQuery::default(), count).await }).await?;
    let counts = lock(&counts);
    let entries = list.iter().map(|entry| {
        let count = counts.entries.get(&entry.to_ascii_lowercase());
        Use {
            name: entry.clone(),
            count: count.map_or(0, |count| count.hits),
            last_at: count.map(|count| count.last_at.clone()),
        }
    });
    let outside = counts.outside.iter().map(|(origin, count)| Use {
        name: origin.clone(),
        count: count.hits,
        last_at: Some(count.last_at.clone()),
    });
    Ok(AllowlistUsage { entries: entries.collect(), outside: outside.collect() })
}
