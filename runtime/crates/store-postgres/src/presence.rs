//! Who uses the database as a whole: any number of nodes that serve, or one command that moves everything.
//!
//! Both hold an advisory lock, the nodes a shared one, for as long as a session of theirs lives: nothing has to be
//! cleaned up after a process that was killed, and no clock is compared.

use deadpool_postgres::{ClientWrapper, Object};

use crate::error::OpenPostgresError;
use crate::pool::PostgresPool;

/// Any number that nobody else takes; "pc nodes" as bytes.
const LOCK: i64 = 0x7063_206e_6f64_6573;

/// A lock on the database as a whole, held while this value and its session live.
#[derive(Debug)]
pub struct Presence(ClientWrapper);

impl Presence {
    /// Whether the session still lives; if not, the lock may be another's.
    pub async fn is_held(&self) -> bool {
        !self.0.is_closed() && self.0.batch_execute("SELECT 1").await.is_ok()
    }
}

impl PostgresPool {
    /// Notes that a node serves.
    ///
    /// # Errors
    /// [`OpenPostgresError::Moving`] while everything is moved into or out of the database.
    pub async fn serving(&self) -> Result<Presence, OpenPostgresError> {
        self.present("SELECT pg_try_advisory_lock_shared($1)", OpenPostgresError::Moving).await
    }

    /// Keeps every node away.
    ///
    /// # Errors
    /// [`OpenPostgresError::InUse`] while a node serves.
    pub async fn alone(&self) -> Result<Presence, OpenPostgresError> {
        self.present("SELECT pg_try_advisory_lock($1)", OpenPostgresError::InUse).await
    }

    async fn present(&self, sql: &str, taken: OpenPostgresError) -> Result<Presence, OpenPostgresError> {
        // Why out of the pool: the lock is the session's, and must end with this value.
        let session = Object::take(self.first().await?);
        let got: bool = session.query_one(sql, &[&LOCK]).await?.try_get(0)?;
        if got { Ok(Presence(session)) } else { Err(taken) }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_store_conformance::cluster::Cluster;

    use super::*;
    use crate::pool::PostgresOptions;

    #[tokio::test]
    async fn nodes_serve_together_and_who_moves_everything_is_alone() {
        let Some(cluster) = Cluster::shared() else { return };
        let pool = PostgresPool::connect(&PostgresOptions::new(cluster.database())).await.unwrap();
        let (one, two) = (pool.serving().await.unwrap(), pool.serving().await.unwrap());
        assert!(one.is_held().await);
        assert!(matches!(pool.alone().await, Err(OpenPostgresError::InUse)));
        drop((one, two));
        // Why again: a session ends a moment after its connection was closed.
        let alone = loop {
            match pool.alone().await {
                Ok(alone) => break alone,
                Err(OpenPostgresError::InUse) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        assert!(matches!(pool.serving().await, Err(OpenPostgresError::Moving)));
        let other = PostgresPool::connect(&PostgresOptions::new(cluster.database())).await.unwrap();
        other.serving().await.map(drop).expect("another database is another matter");
        assert!(alone.is_held().await);
    }
}
