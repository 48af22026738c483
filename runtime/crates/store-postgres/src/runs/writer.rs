//! The writer of runs: takes all that wait, links them to their chains, writes everything by one statement, and answers.
//!
//! As the ledger's writer: it never waits for more, and looks into a failure whose effect is unknown before it writes
//! again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use portcullis_store::{RunRecord, StoreError};
use tokio::sync::{mpsc, oneshot};

use self::batch::Batch;
use super::Shared;
use super::row::{ChainKey, ended_column, genesis, hash, head_seal, terms};
use crate::error::unavailable;
use crate::position::{Positions, first_at, now_us};
use crate::seal::{Seal, Sealer};

mod batch;
mod load;

/// Most rows of one statement, and the bytes after which it takes no more.
const BATCH_ROWS: usize = 512;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// How long a group is tried again, and the pauses between.
const TRIES_FOR: Duration = Duration::from_secs(6);
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Chains whose heads are remembered.
const HEADS_MAX: usize = 50_000;

/// How far ahead of the clock the end of a run may be to count for its position: clocks differ, and one that is wrong must
/// not move all later runs.
const AHEAD_US: i64 = 60 * 60 * 1_000_000;

/// A record that waits.
pub(super) struct Wanted {
    key: ChainKey,
    run_id: String,
    ended_us: i64,
    text: String,
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl Wanted {
    pub(super) fn new(
        record: &RunRecord,
        text: String,
        done: oneshot::Sender<Result<(), StoreError>>,
    ) -> Self {
        Self {
            key: ChainKey { org: record.org.clone(), workspace: record.workspace.clone() },
            run_id: record.run_id.as_str().to_owned(),
            ended_us: ended_column(record),
            text,
            done,
        }
    }
}

/// Where a chain ends.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Head {
    seq: i64,
    hash: Seal,
    pos: i64,
    /// 0 for a chain without rows.
    born: i64,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    positions: Positions,
    heads: HashMap<ChainKey, Head>,
    stale: HashSet<ChainKey>,
    /// Heads that were tried for the present group without an answer.
    doubtful: HashMap<ChainKey, Vec<Head>>,
}

type ByChain = BTreeMap<ChainKey, Vec<Wanted>>;

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, positions: Positions) -> Self {
        Self { shared, positions, heads: HashMap::new(), stale: HashSet::new(), doubtful: HashMap::new() }
    }

    /// Writes until the queue is closed and empty.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Wanted>) {
        let mut taken = Vec::with_capacity(BATCH_ROWS);
        while queue.recv_many(&mut taken, BATCH_ROWS).await > 0 {
            let mut group = ByChain::new();
            let mut bytes = 0_usize;
            for wanted in taken.drain(..) {
                bytes = bytes.saturating_add(wanted.text.len());
                group.entry(wanted.key.clone()).or_default().push(wanted);
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

    async fn write(&mut self, mut group: ByChain) {
        let until = Instant::now() + TRIES_FOR;
        let mut pause = PAUSE;
        self.doubtful.clear();
        loop {
            let tried = self.try_write(&mut group).await;
            self.shared.well.store(tried.is_ok(), Ordering::Relaxed);
            if group.is_empty() {
                return;
            }
            let reason = match &tried {
                Ok(()) => "another process writes the same chain".to_owned(),
                Err(StoreError::Unavailable(reason)) => reason.clone(),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= until {
                tracing::error!(reason, "runs cannot be written");
                for wanted in group.into_values().flatten() {
                    let _ = wanted.done.send(Err(StoreError::Unavailable(reason.clone())));
                }
                return;
            }
            tracing::warn!(reason, "runs are written again");
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }

    /// One try: what was written is answered and taken out of the group.
    async fn try_write(&mut self, group: &mut ByChain) -> Result<(), StoreError> {
        let client = self.shared.pool.writer().await?;
        self.load(&client, group).await?;
        if group.is_empty() {
            return Ok(());
        }
        let (batch, after) = self.batch(group);
        let lost = match batch.execute(&client, &self.shared.node).await {
            Ok(lost) => lost,
            Err(error) => {
                for (key, head) in after {
                    self.stale.insert(key.clone());
                    self.doubtful.entry(key).or_default().push(head);
                }
                return Err(unavailable(&error));
            }
        };
        for ((key, head), number) in after.into_iter().zip(1..) {
            if lost.contains(&number) {
                self.stale.insert(key);
                continue;
            }
            answer(group.remove(&key).unwrap_or_default());
            self.heads.insert(key, head);
        }
        Ok(())
    }

    /// The statement for a group, and where each chain ends after it, in the group's order.
    fn batch(&mut self, group: &ByChain) -> (Batch, Vec<(ChainKey, Head)>) {
        let (mut batch, mut after) = (Batch::default(), Vec::with_capacity(group.len()));
        let now = now_us();
        let node = self.shared.node.as_str();
        let sealer = &self.shared.sealer;
        for ((key, rows), number) in group.iter().zip(1..) {
            let from = self.heads.get(key).cloned();
            let mut head = from.clone();
            let (mut bytes, mut shift) = (0_i64, 0_i64);
            for row in rows {
                let before = head.as_ref().map_or(0, |head| head.pos);
                let pos = self.positions.next(row.ended_us.min(now.saturating_add(AHEAD_US)), before);
                let last = head.unwrap_or_else(|| Head::genesis(sealer, key, node, pos));
                let names = (key.org.as_str(), key.workspace.as_str(), node);
                let seq = last.seq.saturating_add(1);
                let hash = hash(sealer, names, (seq, pos), &last.hash, &row.text);
                batch.row(number, (pos, seq), row, terms(&row.text), &last.hash, &hash);
                bytes = bytes.saturating_add(i64::try_from(row.text.len()).unwrap_or(i64::MAX));
                shift = shift.max((pos / first_at(1)).saturating_sub(row.ended_us));
                head = Some(Head { seq, hash, pos, born: last.born });
            }
            let Some(head) = head else { continue };
            let from = from.unwrap_or_else(|| Head::genesis(sealer, key, node, head.born));
            let seal = head.seal(sealer, key, node);
            batch.chain(key, &from, &head, (bytes, shift), seal.to_vec());
            after.push((key.clone(), head));
        }
        (batch, after)
    }
}

impl Head {
    fn genesis(sealer: &Sealer, key: &ChainKey, node: &str, born: i64) -> Self {
        let names = (key.org.as_str(), key.workspace.as_str(), node);
        Self { seq: 0, hash: genesis(sealer, names, born), pos: 0, born }
    }

    fn seal(&self, sealer: &Sealer, key: &ChainKey, node: &str) -> Seal {
        let names = (key.org.as_str(), key.workspace.as_str(), node);
        head_seal(sealer, names, (self.seq, &self.hash, self.pos), self.born)
    }
}

fn answer(rows: Vec<Wanted>) {
    for wanted in rows {
        // Why ignored: the caller may be gone.
        let _ = wanted.done.send(Ok(()));
    }
}
