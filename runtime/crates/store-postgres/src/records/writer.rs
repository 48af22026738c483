//! The writer of a node: takes the batches that wait, commits them as one transaction, answers each.
//!
//! A caller that stops waiting cancels nothing. After a failure whose effect is not known it asks the server what became
//! of the transaction, so that a restart of the server costs only the calls while it is away.

use std::sync::Arc;
use std::time::Duration;

use portcullis_store::{Batch, StoreError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::error::unavailable;
use crate::pause::Pauses;

use super::Shared;
use super::group::{Failed, Group};

/// Batches of one transaction. More would only make the first of them wait longer.
const GROUP_BATCHES_MAX: usize = 128;

/// Bytes of the values of one transaction: what a node sends while all others wait.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a group is tried again. Longer, and the callers' own time is over.
const PATIENCE: Duration = Duration::from_secs(3);

/// A batch, and who waits for its sequence.
pub(crate) struct Waiting {
    pub(crate) batch: Batch,
    pub(crate) reply: oneshot::Sender<Result<u64, StoreError>>,
}

/// Runs until the store is gone.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut waiting: mpsc::Receiver<Waiting>,
    hint: watch::Sender<u64>,
    notify: bool,
) {
    let mut left = None;
    loop {
        let first = match left.take() {
            Some(left) => Some(left),
            None => waiting.recv().await,
        };
        let Some(first) = first else { return };
        let mut bytes = first.batch.value_bytes();
        let mut group = vec![first];
        while group.len() < GROUP_BATCHES_MAX {
            let Ok(another) = waiting.try_recv() else { break };
            bytes = bytes.saturating_add(another.batch.value_bytes());
            if bytes > GROUP_BYTES_MAX {
                left = Some(another);
                break;
            }
            group.push(another);
        }
        commit(&shared, group, &hint, notify).await;
    }
}

async fn commit(shared: &Shared, waiting: Vec<Waiting>, hint: &watch::Sender<u64>, notify: bool) {
    let (batches, replies): (Vec<Batch>, Vec<_>) =
        waiting.into_iter().map(|waiting| (waiting.batch, waiting.reply)).unzip();
    let done = shared.noting(try_until_done(shared, &batches, notify).await);
    match done {
        Ok(results) => {
            if let Some(seq) = results.iter().flatten().max() {
                hint.send_replace(*seq);
            }
            for (reply, result) in replies.into_iter().zip(results) {
                // The caller may have stopped waiting; the work is done either way.
                drop(reply.send(result));
            }
        }
        Err(error) => {
            for reply in replies {
                drop(reply.send(Err(again(&error))));
            }
        }
    }
}

/// The same error for another caller.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Damaged { what, repair } => StoreError::Damaged { what: what.clone(), repair },
        StoreError::Unavailable(reason) => StoreError::Unavailable(reason.clone()),
        other => StoreError::Unavailable(other.to_string()),
    }
}

type Results = Vec<Result<u64, StoreError>>;

async fn try_until_done(shared: &Shared, batches: &[Batch], notify: bool) -> Result<Results, StoreError> {
    let end = Instant::now() + PATIENCE;
    let mut pauses = Pauses::default();
    loop {
        let group = Group { shared, batches, notify };
        let error = match group.commit().await {
            Ok(results) => return Ok(results),
            Err(Failed::Refused(error)) => return Err(error),
            Err(Failed::NothingDone(error)) => error,
            Err(Failed::Unknown { transaction, results, error }) => {
                match became(shared, &transaction, end).await {
                    Some(true) => return Ok(results),
                    Some(false) => error,
                    None => return Err(error),
                }
            }
        };
        if Instant::now() >= end {
            return Err(error);
        }
        pauses.wait().await;
    }
}

/// Whether a transaction was committed; `None` if that cannot be learnt in time.
async fn became(shared: &Shared, transaction: &str, end: Instant) -> Option<bool> {
    let mut pauses = Pauses::default();
    loop {
        match status(shared, transaction).await {
            Ok(Some(status)) if status == "committed" => return Some(true),
            Ok(Some(status)) if status == "aborted" => return Some(false),
            // Still under way, or not known to this server.
            Ok(_) | Err(_) => {}
        }
        if Instant::now() >= end {
            return None;
        }
        pauses.wait().await;
    }
}

async fn status(shared: &Shared, transaction: &str) -> Result<Option<String>, StoreError> {
    let client = shared.pool.writer().await?;
    let row = client.query_one("SELECT pg_xact_status($1::text::xid8)", &[&transaction]).await;
    let row = row.map_err(|error| unavailable(&error))?;
    row.try_get(0).map_err(|error| unavailable(&error))
}
