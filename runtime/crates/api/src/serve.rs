//! Serving: connections, housekeeping, and a stop that interrupts no caller.
//!
//! Asked to stop, the process continues to serve for a moment: `/readyz` fails and every answer closes its
//! connection, so that callers and load balancers use another process. When no requests come any more it takes no new
//! connections, lets running requests end, closes the idle connections, and after `drain_ms` ends the calls
//! that are left, each with a run and a ledger record that show it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use portcullis_admission::RequestHead;
use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use portcullis_engine::nodes::{Duty, is_on_duty};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::dispatch::router;
use crate::login_log::Peer;
use crate::service::Api;

mod control;
mod fast_reject;
mod head_check;
mod metrics;
mod retention;
mod shedding_stream;
mod stop_signal;

use control::Control;
pub(crate) use control::OnControl;
use fast_reject::FastReject;
pub use metrics::serve_metrics;
use shedding_stream::{Answered, Malformed, Shedding};
pub use stop_signal::{stop_signal, stop_signal_apart};

/// Connections that the operating system accepts ahead of the process: in a burst, more than
/// these are dropped silently, and their callers wait for an answer that never comes. Linux takes the lesser
/// of this and `net.core.somaxconn`, which is 4096 by default.
const BACKLOG: u32 = 4096;

/// Number of polls after which a thread checks whether sockets are ready. Polls of calls are long, so with the usual
/// 61 it checks every few milliseconds: answers of upstreams wait, more calls are started meanwhile, and at 256
/// connections a call took a quarter more CPU. With 8, the checks themselves begin to cost.
const EVENT_INTERVAL: u32 = 16;

/// How often idle upstream connections are checked.
const HOUSEKEEPING: Duration = Duration::from_secs(10);
/// How often old events of workspaces that send none any more are forgotten.
const SWEEPING: Duration = Duration::from_secs(60 * 60);
/// How often it is stored when tokens were last used, which is known to the minute.
const NOTING: Duration = Duration::from_secs(60);
/// Pause after an accept that failed because descriptors or memory ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest time in which a stopping process still takes new connections: two checks of a load balancer that
/// requests `/readyz` every other second.
const NOTICE: Duration = Duration::from_secs(5);
/// It takes none after this time without a request: one such check.
const QUIET: Duration = Duration::from_secs(2);
/// Time between two checks for requests.
const LOOK: Duration = Duration::from_millis(50);
/// The part of a kept connection's idle time in which its requests may be refused below the server, which does not
/// see them: after that it would take the connection for idle and close it during a request.
const UNSEEN_PART: u32 = 4;
/// How long kept connections without a request stay open after that.
const IDLE: Duration = Duration::from_millis(500);
/// Time for the answers of calls that were ended at the end of the drain.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// The async runtime for [`serve`].
///
/// # Errors
/// Those of the operating system: no threads or descriptors are available.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().event_interval(EVENT_INTERVAL).build()
}

/// The longest time that [`serve`] takes to end once it was asked to.
#[must_use]
pub fn longest_stop(limits: &Limits) -> Duration {
    NOTICE + LOOK + IDLE * 2 + Duration::from_millis(limits.drain_ms) + LAST_ANSWERS * 2
}

/// A listener for [`serve`].
///
/// # Errors
/// Those of the operating system: the address is in use, or does not belong to this machine.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Why: a restarted process would otherwise wait for the connections of the previous one.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves the API on `listener` until `stop` resolves, then drains.
///
/// # Errors
/// Those of the operating system when it starts; a failure of a connection affects that connection only.
pub async fn serve(
    api: Arc<Api>,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    // Why a task: the caller may be a thread besides the serving ones. It would go on taking connections while those
    // are late, and the control thread would get none. In a set, so that it ends with the caller.
    let mut task = JoinSet::new();
    task.spawn(run(api, listener, stop));
    task.join_next().await.unwrap_or(Ok(Ok(()))).unwrap_or_else(|error| Err(io::Error::other(error)))
}

async fn run(
    api: Arc<Api>,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let housekeeper = tokio::spawn(keep_house(Arc::clone(&api)));
    let sweeper = tokio::spawn(retention::drop_old(Arc::clone(&api)));
    let mut connections = Connections::new(&api);
    let control = Control::start(&listener, connections.router.clone(), connections.header_time)?;
    {
        let mut stop = pin!(async {
            stop.await;
            give_notice(&api).await;
        });
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = connections.accept(&listener) => {}
            }
        }
    }
    connections.take_waiting(&listener).await;
    drop(control);
    drop(listener);
    connections.drain(&api).await;
    all_recorded(&api).await;
    housekeeper.abort();
    sweeper.abort();
    keep_uses(&api).await;
    Ok(())
}

/// The callers' connections.
struct Connections {
    api: Arc<Api>,
    fast_reject: Arc<FastReject>,
    router: Router,
    header_time: Duration,
    room: Arc<Semaphore>,
    serving: JoinSet<()>,
    closing: watch::Sender<bool>,
}

impl Connections {
    fn new(api: &Arc<Api>) -> Self {
        let most = usize::try_from(api.engine.limits().api_connections).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            api: Arc::clone(api),
            fast_reject: Arc::new(FastReject::new(Arc::clone(api))),
            router: router(Arc::clone(api)),
            header_time: Duration::from_millis(api.engine.limits().api_header_ms),
            room: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            serving: JoinSet::new(),
            closing: watch::Sender::new(false),
        }
    }

    /// Takes the next connection; those beyond the limit stay with the operating system until there is room.
    async fn accept(&mut self, listener: &TcpListener) {
        let Ok(room) = Arc::clone(&self.room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let connection = self.connection(stream, Peer(peer), room);
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

    /// Takes the connections that the system has accepted already: closing the listener would break them. Why not
    /// for longer than [`IDLE`]: callers that return at once would keep the process from ever stopping.
    async fn take_waiting(&mut self, listener: &TcpListener) {
        let all = async {
            while self.room.available_permits() > 0
                && timeout(Duration::from_millis(1), self.accept(listener)).await.is_ok()
            {}
        };
        // Why ignored: the result is the same.
        let _ = timeout(IDLE, all).await;
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: Peer,
        room: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send + 'static {
        let mut closing = self.closing.subscribe();
        // Why ignored: without it the connection is only slower.
        let _ = stream.set_nodelay(true);
        let (fast_reject, router) =
            (Arc::clone(&self.fast_reject), TowerToHyperService::new(self.router.clone()));
        let (api, answered, malformed) = (Arc::clone(&self.api), Answered::default(), Malformed::default());
        let (watch, faults) = (answered.clone(), malformed.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let refusal = head_check::refusal(&api, &request, &faults);
            let refusal = refusal.or_else(|| fast_reject.refusal(&request));
            request.extensions_mut().insert(peer);
            let (router, watch) = (router.clone(), watch.clone());
            async move {
                let answer = match refusal {
                    Some(refusal) => refusal,
                    None => router.call(request).await?,
                };
                Ok::<_, Infallible>(answer.map(|body| watch.watch(body)))
            }
        });
        let (time, fast_reject) = (self.header_time, Arc::clone(&self.fast_reject));
        let stream =
            Shedding::new(stream, answered, malformed, time / UNSEEN_PART, move |head: &RequestHead<'_>| {
                fast_reject.refusal_text(head)
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
                // Why ignored: a caller that disconnected has no use for an error.
                _ = served.as_mut() => return,
                _ = closing.wait_for(|closing| *closing) => served.as_mut().graceful_shutdown(),
            }
            let _ = served.await;
        }
    }

    /// Lets running requests and calls end.
    async fn drain(mut self, api: &Api) {
        let deadline = Instant::now() + Duration::from_millis(api.engine.limits().drain_ms);
        if timeout(IDLE, self.all_ended(api)).await.is_ok() {
            return;
        }
        self.closing.send_replace(true);
        if timeout_at(deadline, self.all_ended(api)).await.is_ok() {
            return;
        }
        tracing::warn!(calls = api.engine.scheduler().calls(), "calls that did not end in time are ended");
        api.engine.end_all_calls(Code::CallEnded);
        let _ = timeout(LAST_ANSWERS, self.all_ended(api)).await;
        self.serving.shutdown().await;
    }

    /// Waits for every connection, and for the calls whose callers are gone.
    async fn all_ended(&mut self, api: &Api) {
        while self.serving.join_next().await.is_some() {}
        api.engine.all_calls_ended().await;
    }
}

/// Waits for the closing ledger records of calls whose callers are gone.
async fn all_recorded(api: &Api) {
    if timeout(LAST_ANSWERS, api.engine.all_recorded()).await.is_err() {
        tracing::error!("the ledger did not take every closing record in time");
    }
}

/// Whether a connection was lost before it was taken.
fn is_the_callers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Gives callers notice to use another process, and waits until they do.
async fn give_notice(api: &Api) {
    api.drain();
    api.engine.stop_jobs();
    tracing::info!("stopping: running requests are finished, callers are asked to use another process");
    let until = Instant::now() + NOTICE;
    let mut requests = api.requests();
    let mut last = Instant::now();
    while Instant::now() < until && last.elapsed() < QUIET {
        sleep(LOOK).await;
        let now = api.requests();
        if now != requests {
            (requests, last) = (now, Instant::now());
        }
    }
}

async fn keep_house(api: Arc<Api>) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    let mut swept = Instant::now();
    let mut noted = Instant::now();
    loop {
        ticks.tick().await;
        if noted.elapsed() >= NOTING {
            noted = Instant::now();
            keep_uses(&api).await;
        }
        if swept.elapsed() >= SWEEPING {
            swept = Instant::now();
            if is_on_duty(&api.engine, Duty::Sessions, SWEEPING).await {
                forget_old(&api).await;
            }
        }
        let idle = api.engine.sweep_connections();
        tracing::debug!(idle_connections = idle, calls = api.engine.scheduler().calls(), "housekeeping");
    }
}

/// Forgets what is left of events, consents and connect sessions whose time is over.
async fn forget_old(api: &Api) {
    if let Err(error) = portcullis_engine::events::sweep(&api.engine).await {
        tracing::error!(%error, "old events could not be forgotten");
    }
    if let Err(error) = portcullis_engine::oauth::consent::sweep(&api.engine).await {
        tracing::error!(error = error.detail, "old consents could not be forgotten");
    }
    if let Err(error) = portcullis_engine::connect::sweep(&api.engine).await {
        tracing::error!(error = error.detail, "old connect sessions could not be forgotten");
    }
}

/// Stores when tokens were last used, and the failed logins of the last minute.
async fn keep_uses(api: &Api) {
    if let Err(error) = portcullis_engine::api_token::keep_uses(&api.engine).await {
        tracing::error!(%error, "when tokens were last used could not be stored");
    }
    if let Err(error) = portcullis_engine::audit_log::keep_logins(&api.engine).await {
        tracing::error!(%error, "failed logins could not be written to the audit log");
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
