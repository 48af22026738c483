//! Keys that are needed before the records can be opened, such as the one for their seals: wrapped by the nodes' master
//! key, and opaque here.
//!
//! A wrapped key that was taken out or exchanged does no harm but that nothing opens: what was sealed under the right
//! one does not fit another.

use crate::error::OpenPostgresError;
use crate::pool::PostgresPool;

/// The key of the seals over all rows.
pub const ROWS_KEY: &str = "rows";

/// Longest wrapped key in bytes: a key, its nonce, its tag and the name of the master key, as text.
const WRAPPED_BYTES_MAX: usize = 4096;

impl PostgresPool {
    /// The wrapped key of this name, if one is there.
    ///
    /// # Errors
    /// [`OpenPostgresError::Unavailable`].
    pub async fn wrapped_key(&self, name: &str) -> Result<Option<String>, OpenPostgresError> {
        let query = "SELECT wrapped FROM wrapped_keys WHERE name = $1";
        let row = self.first().await?.query_opt(query, &[&name]).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// Stores a wrapped key if there is none of this name, and returns the one that is there then: another node may
    /// have been first.
    ///
    /// # Errors
    /// As for [`Self::wrapped_key`]; [`OpenPostgresError::Unavailable`] also if it is too long.
    pub async fn keep_wrapped_key(&self, name: &str, wrapped: &str) -> Result<String, OpenPostgresError> {
        check(wrapped)?;
        let insert = "INSERT INTO wrapped_keys (name, wrapped) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        self.first().await?.execute(insert, &[&name, &wrapped]).await?;
        let there = self.wrapped_key(name).await?;
        there.ok_or_else(|| OpenPostgresError::Unavailable(format!("the key {name} was taken out at once")))
    }

    /// Exchanges a wrapped key, if it is still the one that was read: the same key under another master key. Returns
    /// whether it was.
    ///
    /// # Errors
    /// As for [`Self::keep_wrapped_key`].
    pub async fn rewrap_key(&self, name: &str, before: &str, after: &str) -> Result<bool, OpenPostgresError> {
        check(after)?;
        let update = "UPDATE wrapped_keys SET wrapped = $3 WHERE name = $1 AND wrapped = $2";
        Ok(self.first().await?.execute(update, &[&name, &before, &after]).await? == 1)
    }
}

fn check(wrapped: &str) -> Result<(), OpenPostgresError> {
    if wrapped.len() > WRAPPED_BYTES_MAX {
        let bytes = wrapped.len();
        let reason = format!("a wrapped key has {bytes} bytes, the limit is {WRAPPED_BYTES_MAX}");
        return Err(OpenPostgresError::Unavailable(reason));
    }
    Ok(())
}
