//! `/org/{org}/settings/integrations/usage`: which entries of the org's list were ever hit, and which
//! hosts were asked for outside it: what to remove, and what enforcing would refuse.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use http::Response;
use portcullis_core::host_pattern::HostPattern;
use portcullis_core::ledger::LedgerPhase;
use portcullis_store::{IntegrationSettings, LedgerLine, LedgerQuery};
use serde_json::json;

use crate::api::context::{Ctx, ok};
use crate::problem::Problem;

/// Hosts outside the list that are told; a list longer than this is not read.
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
        // Why: an attempt has one record that is not its `begin`, unless it never ended.
        if event.phase == LedgerPhase::Begin {
            return;
        }
        // Only what passed the connector's own list: the rest no list of the org would change.
        if event.matched_connector.is_none() {
            return;
        }
        // Why by today's list and not by the one of that time: the question is what to change today.
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

/// Counts hits from the ledger.
pub(in crate::api) async fn usage(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let org = ctx.org().await?;
    let settings = ctx.app.records.get::<IntegrationSettings>(&[org.as_str()]).await?.map(|(s, _)| s);
    let list = settings.and_then(|s| s.domain_allowlist).unwrap_or_default();
    let patterns = list.iter().filter_map(|entry| HostPattern::parse(entry).ok()).collect();
    let counts = Arc::new(Mutex::new(Counts { patterns, ..Counts::default() }));
    let sink = Arc::clone(&counts);
    let count = move |line: &LedgerLine| {
        sink.lock().unwrap_or_else(PoisonError::into_inner).add(line);
        ControlFlow::Continue(())
    };
    ctx.app.ledger.export(&org, &LedgerQuery::default(), count).await?;
    let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let entries: Vec<_> = list
        .iter()
        .map(|entry| {
            let count = counts.entries.get(&entry.to_ascii_lowercase());
            json!({ "entry": entry, "hits": count.map_or(0, |c| c.hits), "last_at": count.map(|c| &c.last_at) })
        })
        .collect();
    let outside: Vec<_> = counts
        .outside
        .iter()
        .map(|(origin, c)| json!({ "origin": origin, "attempts": c.hits, "last_at": c.last_at }))
        .collect();
    Ok(ok(&json!({ "entries": entries, "outside": outside })))
}
