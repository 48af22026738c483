//! Futures of the traits, and work that may block. Called by every backend.

use std::pin::Pin;

/// A boxed future, because the traits are used as `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs work on a thread that may block; `ended` is the error for a thread that ended early.
pub(crate) async fn blocking<T: Send + 'static, E: Send + 'static>(
    ended: fn() -> E,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ended())?
}
