//! The note in a database that everything is being moved into it, and from where. It outlives an interruption: a node
//! refuses to serve from what may not be whole, and the same move goes on.
//!
//! A move is made by the role that owns the schema; the nodes' role only reads the note.

use crate::error::OpenPostgresError;
use crate::pool::PostgresPool;

impl PostgresPool {
    /// Where an unfinished move into this database is from, if there is one.
    ///
    /// # Errors
    /// [`OpenPostgresError::Unavailable`].
    pub async fn unfinished_move(&self) -> Result<Option<String>, OpenPostgresError> {
        let found = self.first().await?.query_opt("SELECT source FROM moving", &[]).await?;
        Ok(found.map(|row| row.try_get(0)).transpose()?)
    }

    /// Notes that a move begins.
    ///
    /// # Errors
    /// [`OpenPostgresError::Unavailable`]; also where another one is noted.
    pub async fn begin_move(&self, source: &str) -> Result<(), OpenPostgresError> {
        self.first().await?.execute("INSERT INTO moving (source) VALUES ($1)", &[&source]).await?;
        Ok(())
    }

    /// Notes that everything is there.
    ///
    /// # Errors
    /// [`OpenPostgresError::Unavailable`].
    pub async fn end_move(&self) -> Result<(), OpenPostgresError> {
        self.first().await?.execute("DELETE FROM moving", &[]).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portcullis_store_conformance::cluster::Cluster;

    use crate::migrations::migrate;
    use crate::pool::{PostgresOptions, PostgresPool};

    #[tokio::test]
    async fn one_move_at_a_time_is_noted_until_it_ends() {
        let Some(cluster) = Cluster::shared() else { return };
        let options = PostgresOptions::new(cluster.database());
        migrate(&options, None).await.unwrap();
        let pool = PostgresPool::open(&options).await.unwrap();
        assert_eq!(pool.unfinished_move().await.unwrap(), None);
        pool.begin_move("sled:/a").await.unwrap();
        pool.begin_move("sled:/b").await.unwrap_err();
        assert_eq!(pool.unfinished_move().await.unwrap().as_deref(), Some("sled:/a"));
        pool.end_move().await.unwrap();
        pool.begin_move("sled:/b").await.unwrap();
    }
}
