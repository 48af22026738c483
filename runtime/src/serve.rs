//! Serving: a listener, the router, housekeeping, and an orderly stop.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::api;
use crate::app::App;

/// How often idle upstream connections are looked through.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// Serves the API on `listener` until `stop` resolves, then lets running requests finish.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let housekeeper = tokio::spawn(keep_house(Arc::clone(&app)));
    let draining = Arc::clone(&app);
    let stop = async move {
        stop.await;
        draining.draining.store(true, Ordering::SeqCst);
        tracing::info!("stopping: running requests are finished, new ones are not taken");
    };
    let served = axum::serve(listener, api::router(app)).with_graceful_shutdown(stop).await;
    housekeeper.abort();
    served
}

async fn keep_house(app: Arc<App>) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    loop {
        ticks.tick().await;
        let idle = app.gate.sweep();
        tracing::debug!(idle_connections = idle, "housekeeping");
    }
}

/// Resolves at SIGTERM or Ctrl-C.
pub async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = match signal(SignalKind::terminate()) {
        Ok(term) => term,
        Err(error) => {
            tracing::error!(%error, "SIGTERM cannot be listened for");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
