//! One transaction for the batches that wait together: two round trips under the lock of the head.
//!
//! First the head is locked and what the batches are about is read; then they are judged; then all that passed is
//! written and committed at once. The requests of a round trip are sent without waiting, in the order of the source
//! (`biased`).

use std::collections::HashMap;
use std::time::Duration;

use deadpool_postgres::Object;
use portcullis_store::{Batch, CHANGES_RETAINED_COMMITS, StoreError};
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};

use crate::error::{damaged, is_disconnected, is_retryable, unavailable};
use crate::head::{HEAD_COLUMNS, Head, Stored, column, number};

use super::Shared;
use super::feed::Mark;
use super::judge::{Columns, Judged, There, token};

/// After so many commits the log of changes is cut: rarely enough to cost nothing.
const CUT_EVERY_COMMITS: u64 = 256;

/// Rows of the log that one commit takes out at most.
const CUT_ROWS_MAX: u64 = 4096;

/// How long the log keeps a commit at least, however many there were since: a node that could not read for some
/// seconds goes on where it was.
const KEPT_SECONDS: f64 = 60.0;

const PUT: &str = "INSERT INTO records (key, value, revision, seal)
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::bytea[])
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision, seal = excluded.seal";

const APPEND: &str = "INSERT INTO records (key, value, revision, seal)
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::bytea[])";

const DELETE: &str = "DELETE FROM records WHERE key = ANY($1)";

const LOG: &str = "INSERT INTO change_log (seq, changes, seal, token)
    SELECT c.*, $4::bytea FROM unnest($1::bigint[], $2::text[], $3::bytea[]) c";

const OLD: &str = "SELECT max(seq) FROM change_log
    WHERE seq <= $1 AND committed_at < now() - make_interval(secs => $2)";

const FORGET: &str = "DELETE FROM change_log WHERE seq <= $1";

const ADVANCE: &str =
    "UPDATE store_head SET seq = $1, floor = $2, records = $3, digest = $4, nonce = $5, seal = $6";

const WAKE: &str = "SELECT pg_notify('portcullis_changes', $1)";

/// Batches to commit.
pub(super) struct Group<'a> {
    pub(super) shared: &'a Shared,
    pub(super) batches: &'a [Batch],
    /// Whether to wake other nodes.
    pub(super) notify: bool,
    /// How long each of the two round trips may take.
    pub(super) answer_max: Duration,
}

/// How it failed.
pub(super) enum Failed {
    /// Nothing was done, and trying again would give the same.
    Refused(StoreError),
    /// Nothing was done.
    NothingDone(StoreError),
    /// The transaction with this id may have been committed, and then these are the results.
    Unknown { written: Written, results: Vec<Result<u64, StoreError>>, error: StoreError },
}

/// By what a transaction is found again.
pub(super) struct Written {
    /// Its id. The server may give it to another one, if it lost this one.
    pub(super) transaction: String,
    /// Its first commit.
    pub(super) first: Mark,
}

/// The server did not answer in time.
pub(super) fn silent() -> StoreError {
    StoreError::Unavailable("the database does not answer".to_owned())
}

/// What the server refuses, it refuses again; a connection or a transaction that was lost is worth another try.
fn nothing_done(error: &Error) -> Failed {
    if is_disconnected(error) || is_retryable(error) {
        Failed::NothingDone(unavailable(error))
    } else {
        Failed::Refused(unavailable(error))
    }
}

/// The statements, prepared on one connection.
struct Prepared {
    head: Statement,
    there: Statement,
    put: Statement,
    append: Statement,
    delete: Statement,
    log: Statement,
    forget: Statement,
    advance: Statement,
    wake: Statement,
}

impl Prepared {
    async fn on(client: &Object) -> Result<Self, Error> {
        let head = format!("SELECT {HEAD_COLUMNS}, pg_current_xact_id()::text FROM store_head h FOR UPDATE");
        Ok(Self {
            head: client.prepare_cached(&head).await?,
            there: client
                .prepare_cached("SELECT key, revision, seal FROM records WHERE key = ANY($1)")
                .await?,
            put: client.prepare_cached(PUT).await?,
            append: client.prepare_cached(APPEND).await?,
            delete: client.prepare_cached(DELETE).await?,
            log: client.prepare_cached(LOG).await?,
            forget: client.prepare_cached(FORGET).await?,
            advance: client.prepare_cached(ADVANCE).await?,
            wake: client.prepare_cached(WAKE).await?,
        })
    }
}

impl Group<'_> {
    /// Commits what can be; a result for each batch.
    pub(super) async fn commit(&self) -> Result<Vec<Result<u64, StoreError>>, Failed> {
        let client = self.shared.pool.writer().await.map_err(Failed::NothingDone)?;
        let result = self.on(&client).await;
        if result.is_err() {
            // Its session may have a transaction that is open: nobody else may get it.
            drop(Object::take(client));
        }
        result
    }

    async fn on(&self, client: &Object) -> Result<Vec<Result<u64, StoreError>>, Failed> {
        let prepared = Prepared::on(client).await.map_err(|error| nothing_done(&error))?;
        let begun = timeout(self.answer_max, self.begin(client, &prepared)).await;
        let (head, there, transaction) = begun.map_err(|_| Failed::NothingDone(silent()))??;
        let token = token().map_err(Failed::NothingDone)?;
        let mut judged = Judged::new(&self.shared.sealer, token, head, there);
        let results: Vec<_> = self.batches.iter().map(|batch| judged.judge(batch)).collect();
        let Some(first) = judged.log.first else {
            // Nothing is to be written.
            client.batch_execute("ROLLBACK").await.map_err(|error| nothing_done(&error))?;
            return Ok(results);
        };
        let cut = self.cut(client, &head, &mut judged.head).await?;
        let stored = judged.head.store(&self.shared.sealer).map_err(Failed::NothingDone)?;
        let written = timeout(self.answer_max, self.write(client, &prepared, &judged, &stored, cut)).await;
        let error = match written {
            Ok(Ok(())) => {
                self.shared.history.note_made(first, judged.head.seq);
                return Ok(results);
            }
            Ok(Err(error)) if is_disconnected(&error) => unavailable(&error),
            // The server said no to a part, and so to the whole.
            Ok(Err(error)) => return Err(nothing_done(&error)),
            Err(_) => silent(),
        };
        Err(Failed::Unknown { written: Written { transaction, first }, results, error })
    }

    /// Locks the head, and reads what the batches are about.
    async fn begin(
        &self,
        client: &Object,
        prepared: &Prepared,
    ) -> Result<(Head, HashMap<String, There>, String), Failed> {
        let seen = self.shared.history.seen();
        let keys: Vec<&str> = self.batches.iter().flat_map(Batch::keys).collect();
        let parameters: [&(dyn ToSql + Sync); 1] = [&keys];
        let (begun, head, rows) = tokio::join!(
            biased;
            client.batch_execute("BEGIN"),
            client.query_opt(&prepared.head, &[]),
            client.query(&prepared.there, &parameters),
        );
        begun.map_err(|error| nothing_done(&error))?;
        let row = head.map_err(|error| nothing_done(&error))?;
        let rows = rows.map_err(|error| nothing_done(&error))?;
        let row = row.ok_or_else(|| Failed::Refused(damaged("the head of the records is gone")))?;
        let head = Head::read(&row, &self.shared.sealer).map_err(Failed::Refused)?;
        self.shared.history.see(head.seq, seen).map_err(Failed::Refused)?;
        let there = rows.iter().map(there).collect::<Result<_, _>>().map_err(Failed::Refused)?;
        Ok((head, there, column(&row, 6).map_err(Failed::Refused)?))
    }

    /// Where this commit cuts the log of changes, if it does.
    async fn cut(&self, client: &Object, before: &Head, after: &mut Head) -> Result<Option<i64>, Failed> {
        let reach = after.seq.saturating_sub(CHANGES_RETAINED_COMMITS);
        if before.seq / CUT_EVERY_COMMITS == after.seq / CUT_EVERY_COMMITS || reach <= after.floor {
            return Ok(None);
        }
        let last = number(reach.min(after.floor.saturating_add(CUT_ROWS_MAX)));
        let row = client.query_one(OLD, &[&last, &KEPT_SECONDS]).await;
        let row = row.map_err(|error| nothing_done(&error))?;
        let cut: Option<i64> = column(&row, 0).map_err(Failed::Refused)?;
        after.floor = cut.and_then(|cut| u64::try_from(cut).ok()).unwrap_or(after.floor);
        Ok(cut)
    }

    /// Writes everything and commits. An error of the connection leaves open whether it did.
    async fn write(
        &self,
        client: &Object,
        prepared: &Prepared,
        judged: &Judged<'_>,
        head: &Stored,
        cut: Option<i64>,
    ) -> Result<(), Error> {
        let rows = judged.rows();
        let seq = head.seq.to_string();
        let (log, token) = (&judged.log, judged.token());
        let logged: [&(dyn ToSql + Sync); 4] = [&log.seqs, &log.changes, &log.seals, &token];
        let advanced: [&(dyn ToSql + Sync); 6] =
            [&head.seq, &head.floor, &head.records, &head.digest, &head.nonce, &head.seal];
        let (put, append, delete, log, forget, advance, wake, committed) = tokio::join!(
            biased;
            insert(client, &prepared.put, &rows.puts),
            insert(client, &prepared.append, &rows.appends),
            only_if(!rows.deletes.is_empty(), client, &prepared.delete, &rows.deletes),
            client.execute(&prepared.log, &logged),
            only_if(cut.is_some(), client, &prepared.forget, &cut),
            client.execute(&prepared.advance, &advanced),
            only_if(self.notify, client, &prepared.wake, &seq),
            client.batch_execute("COMMIT"),
        );
        // Why in this order: the first that failed says why the others did.
        for done in [put, append, delete, log, forget, advance, wake] {
            done?;
        }
        committed
    }
}

async fn insert(client: &Object, statement: &Statement, columns: &Columns<'_>) -> Result<u64, Error> {
    if columns.keys.is_empty() {
        return Ok(0);
    }
    let Columns { keys, values, revisions, seals } = columns;
    client.execute(statement, &[keys, values, revisions, seals]).await
}

async fn only_if(
    wanted: bool,
    client: &Object,
    statement: &Statement,
    parameter: &(dyn ToSql + Sync),
) -> Result<u64, Error> {
    if wanted { client.execute(statement, &[parameter]).await } else { Ok(0) }
}

fn there(row: &Row) -> Result<(String, There), StoreError> {
    let key: String = column(row, 0)?;
    let revision = u64::try_from(column::<i64>(row, 1)?).ok();
    let seal = column::<&[u8]>(row, 2)?.try_into().ok();
    match (revision, seal) {
        (Some(revision), Some(seal)) => Ok((key, There { revision, seal })),
        _ => Err(damaged(format!("record {key} is damaged"))),
    }
}
