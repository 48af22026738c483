//! A node's word that it serves, which keeps `portcullis migrate` away from the database meanwhile.

use std::time::Duration;

use portcullis_store_postgres::{OpenPostgresError, PostgresOptions, Presence};

use super::{connect, refused};
use crate::data_dir::Refusal;

/// How often the session is looked at: well within what a migration needs to read a first page.
const LOOK: Duration = Duration::from_secs(1);

/// Notes that this node serves, and keeps that up in the background. `lost` is called once, when everything is being
/// moved and this node must end.
///
/// # Errors
/// The database does not answer, or everything is being moved.
pub(crate) async fn serve_until_lost(
    options: &PostgresOptions,
    lost: impl FnOnce(String) + Send + 'static,
) -> Result<(), Refusal> {
    let pool = connect(options).await?;
    let first = pool.serving().await.map_err(refused)?;
    tokio::spawn(async move {
        let mut held: Option<Presence> = Some(first);
        loop {
            tokio::time::sleep(LOOK).await;
            if let Some(presence) = &held
                && presence.is_held().await
            {
                continue;
            }
            held = None;
            match pool.serving().await {
                Ok(presence) => held = Some(presence),
                // Why: whatever this node would still write is lost with what is moved.
                Err(error @ OpenPostgresError::Moving) => return lost(error.to_string()),
                // Why tried again: the database is away for a moment, as at its restart.
                Err(_) => {}
            }
        }
    });
    Ok(())
}
