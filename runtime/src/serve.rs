//! Serving: connections, housekeeping, and a stop that cuts nobody off.
//!
//! Asked to stop, the process goes on serving for a moment: `/readyz` says no and every answer closes its
//! connection, so that callers and load balancers turn elsewhere. Once nobody comes any more it takes no new
//! connections, lets running requests end, closes the idle connections, and after `drain_ms` ends the calls
//! that are left, each with a run and a ledger record that say so.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use portcullis_core::fault::Code;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::api;
use crate::api::door::Door;
use crate::app::App;

mod message;
mod shed;

use message::Message;
use shed::{Answered, Shedding};

/// Connections that the operating system makes ahead of the process: where a crowd comes at once, more than
/// that are dropped in silence, and their callers wait for an answer that never comes. Linux takes the lesser
/// of this and `net.core.somaxconn`, which is 4096 unless somebody chose.
const BACKLOG: u32 = 4096;

/// After how many polls a thread looks whether sockets are ready. Polls of calls are long, so with the usual 61
/// it looks every few milliseconds: answers of upstreams lie about, more calls are begun meanwhile, and at 256
/// connections a call took a quarter more CPU. With 8, looking begins to cost.
const EVENT_INTERVAL: u32 = 16;

/// How often idle upstream connections are looked through.
const HOUSEKEEPING: Duration = Duration::from_secs(10);
/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest time in which a stopping process still takes new connections: two looks of a load balancer that
/// asks `/readyz` every other second.
const NOTICE: Duration = Duration::from_secs(5);
/// It takes none once nobody has asked anything for so long: one such look.
const QUIET: Duration = Duration::from_secs(2);
/// Between two looks at whether anybody asked.
const LOOK: Duration = Duration::from_millis(50);
/// Part of the time that a kept connection may be idle, in which its requests may be refused without the server's
/// seeing any: it would take the connection for idle and close it while somebody asks.
const UNSEEN_PART: u32 = 4;
/// How long kept connections without a request stay open after that.
const IDLE: Duration = Duration::from_millis(500);
/// For the answers of calls that were ended at the end of the drain.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// The async runtime for [`serve`].
///
/// # Errors
/// The operating system's: it gives no threads or descriptors.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().event_interval(EVENT_INTERVAL).build()
}

/// A listener for [`serve`].
///
/// # Errors
/// The operating system's: the address is taken, or not this machine's.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Why: a process that starts again would otherwise wait for the connections of the one before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves the API on `listener` until `stop` resolves, then drains.
///
/// # Errors
/// Never once it serves: a connection's failure is that connection's.
pub async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let housekeeper = tokio::spawn(keep_house(Arc::clone(&app)));
    let ledgers = Arc::strong_count(&app.ledger);
    let mut connections = Connections::new(&app);
    {
        let mut stop = pin!(async {
            stop.await;
            give_notice(&app).await;
        });
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = connections.accept(&listener) => {}
            }
        }
    }
    connections.take_waiting(&listener).await;
    drop(listener);
    connections.drain(&app).await;
    all_recorded(&app, ledgers).await;
    housekeeper.abort();
    Ok(())
}

/// The callers' connections.
struct Connections {
    door: Arc<Door>,
    router: Router,
    header_time: Duration,
    room: Arc<Semaphore>,
    serving: JoinSet<()>,
    closing: watch::Sender<bool>,
}

impl Connections {
    fn new(app: &Arc<App>) -> Self {
        let most = usize::try_from(app.limits.api_connections).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            door: Arc::new(Door::new(Arc::clone(app))),
            router: api::router(Arc::clone(app)),
            header_time: Duration::from_millis(app.limits.api_header_ms),
            room: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            serving: JoinSet::new(),
            closing: watch::Sender::new(false),
        }
    }

    /// Takes the next connection; those beyond the limit stay with the operating system until there is room.
    async fn accept(&mut self, listener: &TcpListener) {
        let Ok(room) = Arc::clone(&self.room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = self.connection(stream, room);
                self.serving.spawn(connection);
            }
            Err(error) if is_the_callers(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be taken");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while self.serving.try_join_next().is_some() {}
    }

    /// Takes the connections that the system has made already: closing the listener would cut them off. Why not
    /// for longer than [`IDLE`]: callers that come back at once would keep the process from ever stopping.
    async fn take_waiting(&mut self, listener: &TcpListener) {
        let all = async {
            while self.room.available_permits() > 0
                && timeout(Duration::from_millis(1), self.accept(listener)).await.is_ok()
            {}
        };
        // Why ignored: either way it is over.
        let _ = timeout(IDLE, all).await;
    }

    fn connection(
        &self,
        stream: TcpStream,
        room: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send + 'static {
        let mut closing = self.closing.subscribe();
        // Why ignored: it is only slower without.
        let _ = stream.set_nodelay(true);
        let (door, router) = (Arc::clone(&self.door), TowerToHyperService::new(self.router.clone()));
        let answered = Answered::default();
        let watch = answered.clone();
        let service = service_fn(move |request| {
            let refusal = door.refusal(&request);
            let (router, watch) = (router.clone(), watch.clone());
            async move {
                let answer = match refusal {
                    Some(refusal) => refusal,
                    None => router.call(request).await?,
                };
                Ok::<_, Infallible>(answer.map(|body| watch.watch(body)))
            }
        });
        let (time, door) = (self.header_time, Arc::clone(&self.door));
        let stream = Shedding::new(stream, answered, time / UNSEEN_PART, move |message: &Message<'_>| {
            door.refusal_text(message.method, message.target, message.authorization)
        });
        async move {
            let _room = room;
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(time)
                .serve_connection(TokioIo::new(stream), service);
            let mut served = pin!(served);
            tokio::select! {
                // Why in this order: a request that has arrived is answered before its connection is closed.
                biased;
                // Why ignored: a caller that went away has no use for an error.
                _ = served.as_mut() => return,
                _ = closing.wait_for(|closing| *closing) => served.as_mut().graceful_shutdown(),
            }
            let _ = served.await;
        }
    }

    /// Lets running requests end.
    async fn drain(mut self, app: &App) {
        let deadline = Instant::now() + Duration::from_millis(app.limits.drain_ms);
        if timeout(IDLE, self.all_ended()).await.is_ok() {
            return;
        }
        self.closing.send_replace(true);
        if timeout_at(deadline, self.all_ended()).await.is_ok() {
            return;
        }
        tracing::warn!(calls = app.scheduler.calls(), "calls that did not end in time are ended");
        app.running.end_all(Code::CallEnded);
        let _ = timeout(LAST_ANSWERS, self.all_ended()).await;
        self.serving.shutdown().await;
    }

    async fn all_ended(&mut self) {
        while self.serving.join_next().await.is_some() {}
    }
}

/// Waits for the closing ledger records of calls whose callers are gone: each call holds the ledger until its
/// record is written.
async fn all_recorded(app: &App, idle: usize) {
    let written = async {
        while Arc::strong_count(&app.ledger) > idle {
            sleep(LOOK).await;
        }
    };
    if timeout(LAST_ANSWERS, written).await.is_err() {
        tracing::error!("the ledger did not take every closing record in time");
    }
}

/// Whether a connection was lost before it was taken.
fn is_the_callers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Tells callers to turn elsewhere, and waits until they have.
async fn give_notice(app: &App) {
    app.draining.store(true, Ordering::SeqCst);
    tracing::info!("stopping: running requests are finished, new ones are told to go elsewhere");
    let until = Instant::now() + NOTICE;
    let mut requests = app.requests.load(Ordering::Relaxed);
    let mut last = Instant::now();
    while Instant::now() < until && last.elapsed() < QUIET {
        sleep(LOOK).await;
        let now = app.requests.load(Ordering::Relaxed);
        if now != requests {
            (requests, last) = (now, Instant::now());
        }
    }
}

async fn keep_house(app: Arc<App>) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    loop {
        ticks.tick().await;
        let idle = app.gate.sweep();
        tracing::debug!(idle_connections = idle, calls = app.scheduler.calls(), "housekeeping");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[allow(clippy::disallowed_methods, reason = "the test's own listener on loopback")]
    async fn a_crowd_is_connected_before_anybody_is_served() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let mut crowd = Vec::new();
        for _ in 0..1000 {
            let connected = timeout(Duration::from_secs(10), TcpStream::connect(address)).await;
            crowd.push(connected.expect("the queue of connections is too short").unwrap());
        }
        assert_eq!(listener.accept().await.unwrap().1, crowd[0].local_addr().unwrap());
    }
}
