//! Passes the records of other nodes on to the subscribers of this one, looks whether the database is back, and keeps the
//! partitions up.
//!
//! It asks the heads of followed orgs, which is cheap, and reads what is new in their chains. Own records are passed on
//! by the writer, at once.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use portcullis_core::id::{NodeId, OrgId};
use portcullis_core::sync::lock;
use portcullis_store::for_backends::ledger::parse;
use portcullis_store::{LedgerError, LedgerLine};

use super::importing::NO_NODE;
use super::{Shared, failed, keep_partitions};
use crate::position::{first_at, now_us};

/// How often other nodes' heads are looked at while somebody follows an org.
const POLL: Duration = Duration::from_millis(250);

/// How often partitions are looked after: they are made two months ahead, and one that was used just then is dropped later.
const PARTITIONS: Duration = Duration::from_secs(60 * 60);

/// Records that are read at once.
const LINES: i64 = 256;

/// What is passed on of an org.
#[derive(Debug)]
pub(super) struct Followed {
    /// Records before this position are not passed on.
    since: i64,
    /// The last that was passed on of each other node.
    passed: HashMap<String, i64>,
}

impl Shared {
    /// From now on an org's records of other nodes are passed on.
    pub(super) fn follow(&self, org: &OrgId) {
        let since = first_at(u64::try_from(now_us()).unwrap_or_default());
        let mut followed = lock(&self.followed);
        followed.entry(org.clone()).or_insert_with(|| Followed { since, passed: HashMap::new() });
    }
}

/// Runs until the ledger is dropped.
pub(super) async fn run(shared: Weak<Shared>) {
    let mut ticks = tokio::time::interval(POLL);
    let mut partitions_at = Instant::now() + PARTITIONS;
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        if !shared.well.load(Ordering::Relaxed) {
            // Why: with no calls let in, no record would ever show that it is back.
            let answers = match shared.writer().await {
                Ok(client) => client.simple_query("SELECT 1").await.is_ok(),
                Err(_) => false,
            };
            shared.well.store(answers, Ordering::Relaxed);
        }
        if Instant::now() >= partitions_at {
            partitions_at = Instant::now() + PARTITIONS;
            keep_partitions(&shared.pool).await;
        }
        if let Err(error) = shared.pass_on().await {
            tracing::debug!(%error, "other nodes' records cannot be followed now");
        }
    }
}

impl Shared {
    async fn pass_on(&self) -> Result<(), LedgerError> {
        let orgs = self.subscribers.orgs();
        lock(&self.followed).retain(|org, _| orgs.contains(org));
        if orgs.is_empty() {
            return Ok(());
        }
        let client = self.client().await?;
        let names: Vec<&str> = orgs.iter().map(OrgId::as_str).collect();
        let heads =
            "SELECT org, node, pos FROM ledger_heads WHERE org = ANY ($1) AND node <> $2 ORDER BY org, pos";
        let rows =
            client.query(heads, &[&names, &self.node.as_str()]).await.map_err(|error| failed(&error))?;
        for row in rows {
            let read =
                (|| Ok::<_, tokio_postgres::Error>((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))();
            let (org, node, head): (String, String, i64) = read.map_err(|error| failed(&error))?;
            let Ok(org) = OrgId::parse(&org) else { continue };
            self.pass_chain(&client, &org, &node, head).await?;
        }
        Ok(())
    }

    /// Passes on what a chain has up to its head.
    async fn pass_chain(
        &self,
        client: &deadpool_postgres::Object,
        org: &OrgId,
        node: &str,
        head: i64,
    ) -> Result<(), LedgerError> {
        loop {
            let from = lock(&self.followed).get(org).map(|followed| {
                followed.passed.get(node).copied().unwrap_or(followed.since.saturating_sub(1))
            });
            let Some(from) = from.filter(|from| *from < head) else { return Ok(()) };
            let lines = "SELECT pos, line FROM ledger_records WHERE org = $1 AND pos > $2 AND pos <= $3 AND node = $4 \
                         ORDER BY pos LIMIT $5";
            let rows = client.query(lines, &[&org.as_str(), &from, &head, &node, &LINES]).await;
            let rows = rows.map_err(|error| failed(&error))?;
            let mut reached = head;
            let is_last = i64::try_from(rows.len()).unwrap_or(LINES) < LINES;
            for row in rows {
                let read = (|| Ok::<_, tokio_postgres::Error>((row.try_get(0)?, row.try_get(1)?)))();
                let (pos, text): (i64, String) = read.map_err(|error| failed(&error))?;
                reached = if is_last { head } else { pos };
                // Why passed over: lists and the check name what is damaged.
                let Some(line) = line(org, node, &text) else { continue };
                self.subscribers.publish(org, || Arc::new(line));
            }
            if let Some(followed) = lock(&self.followed).get_mut(org) {
                followed.passed.insert(node.to_owned(), reached);
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

fn line(org: &OrgId, node: &str, text: &str) -> Option<LedgerLine> {
    let raw = parse(org, text.as_bytes()).ok()?;
    let is_own = raw.node.as_ref().map_or(NO_NODE, NodeId::as_str) == node;
    LedgerLine::from_raw(text, &raw).ok().filter(|_| is_own)
}
