//! The bytes of custom modules in PostgreSQL, believed only if they have the digest that they are stored under.

use std::io;
use std::sync::Arc;

use portcullis_store::{BoxFuture, ModuleBytes, StoreError, module_with_digest};
use tokio_postgres::Error;

use crate::error::describe;
use crate::pool::PostgresPool;

/// Modules of one database. Compiled ones stay with each node.
pub struct PostgresModules {
    pool: PostgresPool,
}

impl PostgresModules {
    /// The modules in this database.
    #[must_use]
    pub const fn new(pool: PostgresPool) -> Self {
        Self { pool }
    }

    async fn client(&self) -> io::Result<deadpool_postgres::Object> {
        self.pool.client().await.map_err(|error: StoreError| io::Error::other(error.to_string()))
    }
}

fn failed(error: &Error) -> io::Error {
    io::Error::other(describe(error))
}

impl ModuleBytes for PostgresModules {
    fn write<'a>(&'a self, hex: &'a str, bytes: Arc<[u8]>) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            // Why not left as it is: what is there may have been changed, and this is what it should be.
            let sql = "INSERT INTO modules (digest, bytes) VALUES ($1, $2) \
                       ON CONFLICT (digest) DO UPDATE SET bytes = EXCLUDED.bytes";
            let written = self.client().await?.execute(sql, &[&hex, &&*bytes]).await;
            written.map(drop).map_err(|error| failed(&error))
        })
    }

    fn read<'a>(&'a self, hex: &'a str) -> BoxFuture<'a, io::Result<Option<Vec<u8>>>> {
        Box::pin(async move {
            let sql = "SELECT bytes FROM modules WHERE digest = $1";
            let row = self.client().await?.query_opt(sql, &[&hex]).await.map_err(|error| failed(&error))?;
            let Some(row) = row else { return Ok(None) };
            let bytes = row.try_get(0).map_err(|error| failed(&error))?;
            module_with_digest(hex, bytes).map(Some)
        })
    }

    fn remove<'a>(&'a self, hex: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let sql = "DELETE FROM modules WHERE digest = $1";
            self.client().await?.execute(sql, &[&hex]).await.map(drop).map_err(|error| failed(&error))
        })
    }
}

#[cfg(test)]
mod tests;
