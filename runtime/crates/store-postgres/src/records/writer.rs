//! The writer of a node: takes the batches that wait, commits them as one transaction, answers each.
//!
//! A caller that stops waiting cancels nothing. After a failure whose effect is not known it asks the server what became
//! of the transaction, so that a restart of the server costs only the calls while it is away. Only what is in the log of
//! changes was done: a server that crashed, or was promoted without the last commits, may give the id of a transaction
//! that it lost to another one, and then says that this id was committed.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Object;
use portcullis_store::{Batch, StoreError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::error::unavailable;
use crate::head::{column, number};
use crate::pause::Pauses;
use crate::seal::is_same;

use super::Shared;
use super::feed::Mark;
use super::group::{Failed, Group, Written, silent};

/// Batches of one transaction. More would only make the first of them wait longer.
const GROUP_BATCHES_MAX: usize = 128;

/// Bytes of the values of one transaction: what a node sends while all others wait.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a group is tried again. Longer, and the callers' own time is over.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long one round trip of a group may take. Its requests are sent together, so the limit of a connection's silence
/// is over with the answer to the first: a server that is gone after that would hold all commits of this node until the
/// kernel gives the connection up, and one that hangs for ever. Why longer than a statement may take (5 s): what the server
/// gives up by itself is answered with the reason.
const ANSWER_MAX: Duration = Duration::from_secs(10);

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
    let done = shared.noting_commits(try_until_done(shared, &batches, notify).await);
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
        let group = Group { shared, batches, notify, answer_max: ANSWER_MAX };
        let error = match group.commit().await {
            Ok(results) => return Ok(results),
            Err(Failed::Refused(error)) => return Err(error),
            Err(Failed::NothingDone(error)) => error,
            Err(Failed::Unknown { written, results, error }) => match became(shared, &written, end).await {
                Some(true) => {
                    let last = results.iter().flatten().max().copied();
                    shared.history.note_made(written.first, last.unwrap_or(written.first.seq));
                    return Ok(results);
                }
                Some(false) => error,
                None => return Err(error),
            },
        };
        if Instant::now() >= end {
            return Err(error);
        }
        pauses.wait().await;
    }
}

/// Whether it was committed; `None` if that cannot be learnt in time.
async fn became(shared: &Shared, written: &Written, end: Instant) -> Option<bool> {
    let mut pauses = Pauses::default();
    loop {
        // Else it is still under way, or not known to this server.
        if let Ok(Some(done)) = outcome(shared, written).await {
            return Some(done);
        }
        if Instant::now() >= end {
            return None;
        }
        pauses.wait().await;
    }
}

/// What the server knows of it; `None` while it does not know.
async fn outcome(shared: &Shared, written: &Written) -> Result<Option<bool>, StoreError> {
    let client = shared.pool.writer().await?;
    // Why no longer: it is asked again, on another connection.
    let asked = timeout(PATIENCE, ask(&client, written)).await.unwrap_or_else(|_| Err(silent()));
    if asked.is_err() {
        // Nobody else may wait for it.
        drop(Object::take(client));
    }
    asked
}

async fn ask(client: &Object, written: &Written) -> Result<Option<bool>, StoreError> {
    let row = client.query_one("SELECT pg_xact_status($1::text::xid8)", &[&written.transaction]).await;
    let row = row.map_err(|error| unavailable(&error))?;
    match column::<Option<&str>>(&row, 0)? {
        // Why a statement of its own: one that began before the commit was over would not see its rows.
        Some("committed") => is_logged(client, &written.first).await.map(Some),
        // Also if it is another transaction that has the id now: then this one was lost.
        Some("aborted") => Ok(Some(false)),
        _ => Ok(None),
    }
}

/// Whether the log of changes has this very commit. It keeps commits for longer than anybody asks here.
async fn is_logged(client: &Object, commit: &Mark) -> Result<bool, StoreError> {
    let query = "SELECT seal FROM change_log WHERE seq = $1";
    let row = client.query_opt(query, &[&number(commit.seq)]).await.map_err(|error| unavailable(&error))?;
    let Some(row) = row else { return Ok(false) };
    Ok(is_same(&commit.seal, column(&row, 0)?))
}

#[cfg(test)]
mod tests;
