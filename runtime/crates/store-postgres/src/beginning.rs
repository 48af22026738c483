//! A database that holds nothing yet. The first who opens its records seals their head under a key, so nobody must do that
//! who only looks, or whose key comes to nothing.

use crate::error::OpenPostgresError;
use crate::pool::PostgresPool;

const UNTOUCHED: &str = "SELECT NOT EXISTS (SELECT FROM store_head WHERE seq > 0) \
                         AND NOT EXISTS (SELECT FROM records) AND NOT EXISTS (SELECT FROM change_log)";

/// Why the key stays where ledgers or runs are: they are those of a move that goes on.
const ANEW: &str = "DELETE FROM store_head WHERE seq = 0 \
                    AND NOT EXISTS (SELECT FROM records) AND NOT EXISTS (SELECT FROM change_log); \
                    DELETE FROM wrapped_keys WHERE NOT EXISTS (SELECT FROM store_head WHERE seq > 0) \
                    AND NOT EXISTS (SELECT FROM records) AND NOT EXISTS (SELECT FROM ledger_heads) \
                    AND NOT EXISTS (SELECT FROM run_heads)";

impl PostgresPool {
    /// Whether no record was ever committed.
    ///
    /// # Errors
    /// [`OpenPostgresError::Unavailable`].
    pub async fn is_untouched(&self) -> Result<bool, OpenPostgresError> {
        Ok(self.first().await?.query_one(UNTOUCHED, &[]).await?.try_get(0)?)
    }

    /// Whether there is a record whose key begins so.
    ///
    /// # Errors
    /// [`OpenPostgresError::Unavailable`].
    pub async fn has_record_below(&self, prefix: &str) -> Result<bool, OpenPostgresError> {
        let query = "SELECT EXISTS (SELECT FROM records WHERE key >= $1 AND starts_with(key, $1))";
        Ok(self.first().await?.query_one(query, &[&prefix]).await?.try_get(0)?)
    }

    /// Forgets under which key an untouched database was opened; one with records stays as it is. For whoever is
    /// [alone](Self::alone) with it.
    ///
    /// # Errors
    /// [`OpenPostgresError::Unavailable`].
    pub async fn begin_anew(&self) -> Result<(), OpenPostgresError> {
        self.first().await?.batch_execute(ANEW).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portcullis_store::{Batch, Store as _};
    use portcullis_store_conformance::cluster::Cluster;

    use crate::migrations::migrate;
    use crate::pool::{PostgresOptions, PostgresPool};
    use crate::records::PostgresStore;

    #[tokio::test]
    async fn another_key_can_begin_with_a_database_that_holds_nothing_and_with_no_other() {
        let Some(cluster) = Cluster::shared() else { return };
        let options = PostgresOptions::new(cluster.database());
        migrate(&options, None).await.unwrap();
        let pool = PostgresPool::open(&options).await.unwrap();
        assert!(pool.is_untouched().await.unwrap());
        PostgresStore::open(&options, Some(&[1; 32])).await.map(drop).unwrap();
        assert!(pool.is_untouched().await.unwrap());
        PostgresStore::open(&options, Some(&[2; 32])).await.map(drop).unwrap_err();
        pool.begin_anew().await.unwrap();
        let store = PostgresStore::open(&options, Some(&[2; 32])).await.unwrap();
        store.commit(Batch::new().put("a", b"b".to_vec())).await.unwrap();
        assert!(!pool.is_untouched().await.unwrap());
        assert!(pool.has_record_below("a").await.unwrap() && !pool.has_record_below("b").await.unwrap());
        pool.begin_anew().await.unwrap();
        assert_eq!(store.get("a").await.unwrap().unwrap().value, b"b");
        PostgresStore::open(&options, Some(&[1; 32])).await.map(drop).unwrap_err();
    }
}
