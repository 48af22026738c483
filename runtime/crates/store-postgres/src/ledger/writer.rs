//! The writer: takes all records that wait, extends the chains, writes everything by one statement, and answers.
//!
//! It never waits for more: while one group is on its way, the next gathers. A failure whose effect is unknown is looked
//! into before anything is written again, so that no record is there twice and none that was acknowledged is missing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use portcullis_core::id::OrgId;
use portcullis_core::ledger::LedgerEvent;
use portcullis_store::for_backends::ledger::{Chain, Written};
use portcullis_store::{LedgerError, LedgerLine};
use tokio::sync::{mpsc, oneshot};

pub(super) use self::batch::Batch;
use super::chain::{self, HEAD, Head, Line};
use super::{Shared, failed};
use crate::position::{Positions, now_us};

mod batch;
mod load;

/// Most records of one statement.
const BATCH_RECORDS: usize = 512;

/// Bytes of records after which a statement takes no more: some 10 ms of the database's time.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// How long a group is tried again. Calls wait for it meanwhile, and have their own time.
const TRIES_FOR: Duration = Duration::from_secs(6);

/// The first pause before another try; it doubles, up to the last.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Chains whose heads are remembered. Beyond that all are read again when they are needed.
const HEADS_MAX: usize = 50_000;

/// A record that waits.
pub(super) struct Wanted {
    pub(super) event: LedgerEvent,
    pub(super) text: String,
    pub(super) done: oneshot::Sender<Result<u64, LedgerError>>,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    positions: Positions,
    segment_bytes_max: i64,
    /// Where the chains end, as far as this process knows.
    heads: HashMap<OrgId, Head>,
    /// Those that are to be read again before they are gone on from.
    stale: HashSet<OrgId>,
    /// What was tried of the present group without an answer whether it was done.
    doubtful: HashMap<OrgId, Vec<After>>,
}

/// A chain as it is after a group.
#[derive(Debug, Clone)]
struct After {
    head: Head,
    lines: Vec<Line>,
}

/// The records of one org, in their order.
type ByOrg = BTreeMap<OrgId, Vec<Wanted>>;

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, positions: Positions, segment_bytes_max: i64) -> Self {
        Self {
            shared,
            positions,
            segment_bytes_max,
            heads: HashMap::new(),
            stale: HashSet::new(),
            doubtful: HashMap::new(),
        }
    }

    /// Writes until the queue is closed and empty.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Wanted>) {
        let mut taken = Vec::with_capacity(BATCH_RECORDS);
        while queue.recv_many(&mut taken, BATCH_RECORDS).await > 0 {
            let mut group = ByOrg::new();
            let mut bytes = 0_usize;
            for wanted in taken.drain(..) {
                bytes = bytes.saturating_add(wanted.text.len());
                group.entry(wanted.event.org.clone()).or_default().push(wanted);
                if bytes >= BATCH_BYTES {
                    self.write(std::mem::take(&mut group)).await;
                    bytes = 0;
                }
            }
            if !group.is_empty() {
                self.write(group).await;
            }
        }
    }

    /// Writes a group and answers all of it.
    async fn write(&mut self, mut group: ByOrg) {
        let until = Instant::now() + TRIES_FOR;
        let mut pause = PAUSE;
        self.doubtful.clear();
        loop {
            let tried = self.try_write(&mut group).await;
            self.shared.well.store(tried.is_ok(), Ordering::Relaxed);
            if group.is_empty() {
                return;
            }
            if let Err(error) = tried {
                if Instant::now() >= until {
                    tracing::error!(%error, "records of the ledger cannot be written");
                    refuse(group, &error);
                    return;
                }
                tracing::warn!(%error, "records of the ledger are written again");
            } else if Instant::now() >= until {
                let error = LedgerError::Unavailable("another process writes the same chain".to_owned());
                refuse(group, &error);
                return;
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }

    /// One try: what was written is answered and taken out of the group.
    async fn try_write(&mut self, group: &mut ByOrg) -> Result<(), LedgerError> {
        let client = self.shared.writer().await?;
        self.load(&client, group).await?;
        if group.is_empty() {
            return Ok(());
        }
        let (batch, after) = self.batch(group);
        let lost = match batch.execute(&client, self.shared.node.as_str()).await {
            Ok(lost) => lost,
            Err(error) => {
                // Also where the server gave a reason: it may be one for ending the connection after the commit.
                for (org, after) in after {
                    self.stale.insert(org.clone());
                    self.doubtful.entry(org).or_default().push(after);
                }
                return Err(failed(&error));
            }
        };
        for (org, after) in after {
            if lost.contains(&org) {
                self.stale.insert(org);
                continue;
            }
            self.acknowledge(&org, group.remove(&org).unwrap_or_default(), &after.lines);
            self.heads.insert(org, after.head);
        }
        Ok(())
    }

    /// The statement for a group, and how each chain is after it.
    fn batch(&mut self, group: &ByOrg) -> (Batch, BTreeMap<OrgId, After>) {
        let (mut batch, mut all) = (Batch::default(), BTreeMap::new());
        let now = now_us();
        for (org, records) in group {
            let chain = Chain { org, node: Some(&self.shared.node) };
            let from = self.heads.get(org).cloned().unwrap_or_else(|| Head::genesis(&chain));
            let (mut head, mut lines) = (from.clone(), Vec::with_capacity(records.len()));
            for record in records {
                if let Some(closed) = head.roll(self.segment_bytes_max) {
                    batch.close(org, &closed);
                }
                let line = head.extend(&chain, &record.text, &record.event.at, &mut self.positions, now);
                batch.record(org, head.pos, &line);
                lines.push(line);
            }
            let seal = chain::seal(&self.shared.sealer, HEAD, &chain, &head.link, head.pos);
            batch.head(org, &from, &head, seal.to_vec());
            all.insert(org.clone(), After { head, lines });
        }
        (batch, all)
    }

    /// Passes written records on to subscribers, and answers their callers.
    fn acknowledge(&self, org: &OrgId, records: Vec<Wanted>, lines: &[Line]) {
        for (wanted, line) in records.into_iter().zip(lines) {
            let Line { text, prev, link } = line;
            self.shared.subscribers.publish(org, || {
                let node = Some(&self.shared.node);
                let written = Written { seq: link.seq, node, prev: *prev, hash: link.hash, line: text };
                Arc::new(LedgerLine::from_written(&written, wanted.event.clone()))
            });
            // Why ignored: the caller may be gone.
            let _ = wanted.done.send(Ok(link.seq));
        }
    }
}

/// Answers a group with an error.
fn refuse(group: ByOrg, error: &LedgerError) {
    for wanted in group.into_values().flatten() {
        let _ = wanted.done.send(Err(again(error)));
    }
}

/// The same error for another caller.
fn again(error: &LedgerError) -> LedgerError {
    match error {
        LedgerError::Damaged { org, bad } => LedgerError::Damaged { org: org.clone(), bad: bad.clone() },
        LedgerError::Unavailable(reason) => LedgerError::Unavailable(reason.clone()),
        other => LedgerError::Unavailable(other.to_string()),
    }
}
