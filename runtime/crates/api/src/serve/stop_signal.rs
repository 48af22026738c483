//! The signals that ask the process to stop, on a thread of their own: they are heard and the process ends even if
//! every other thread is busy or blocked.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Resolves at SIGTERM, SIGINT or SIGQUIT.
pub async fn stop_signal() {
    match Stops::listen() {
        Ok(stops) => stops.next().await,
        Err(error) => {
            tracing::error!(%error, "SIGTERM cannot be listened for");
            std::future::pending().await
        }
    }
}

/// Listens for SIGTERM, SIGINT and SIGQUIT on a thread of its own, and returns what resolves at the first of them. A
/// process that still runs after the time `at_most` from then is not able to stop, and `give_up` is called.
///
/// # Errors
/// Those of the operating system: no thread, no descriptors, or no such signal.
pub fn stop_signal_apart(
    at_most: Duration,
    give_up: impl FnOnce() + Send + 'static,
) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let (asked, mut asks) = watch::channel(false);
    let (listening, listens) = mpsc::channel();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(listening.send(Err(error))),
        };
        runtime.block_on(async {
            match Stops::listen() {
                Ok(stops) => {
                    // Why ignored: whoever started this waits for it.
                    let _ = listening.send(Ok(()));
                    stops.next().await;
                }
                Err(error) => return drop(listening.send(Err(error))),
            }
            asked.send_replace(true);
            tokio::time::sleep(at_most).await;
            give_up();
        });
    })?;
    listens.recv().map_err(io::Error::other)??;
    Ok(async move {
        // Why ignored: the thread keeps the sender until the process ends.
        let _ = asks.wait_for(|asked| *asked).await;
    })
}

struct Stops {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Stops {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn next(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}
