//! The control thread: it answers when the threads that serve everybody do not.
//!
//! The serving threads give a sign of life every [`BEAT`]. While it does not come, this thread takes the new
//! connections from the same socket and serves one request on each: `/healthz`, the kill switch and every other route.
//! It has a runtime of its own, so it needs none of the threads that are late; calls of third parties wait for them.
//! Why not always: a call would cross from one runtime to the other and back, which costs more than some of its checks.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdListener;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use portcullis_core::sync::lock;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::login_log::Peer;

/// Time between two signs of life, and between two looks for them.
const BEAT: Duration = Duration::from_millis(50);
/// Looks without a sign of life after which the serving threads count as late: longer than any queue of short tasks.
const LATE: u32 = 8;

/// Marks a request that the control thread serves, with the runtime on which a call of it runs.
#[derive(Debug, Clone)]
pub(crate) struct OnControl(pub(crate) Handle);

/// The control thread of one listener. Dropped before the listener is closed.
pub(super) struct Control {
    shared: Arc<Shared>,
    heart: JoinHandle<()>,
}

struct Shared {
    beats: AtomicU64,
    /// The serving threads' socket once more; `None` when the thread is to end.
    listener: Mutex<Option<StdListener>>,
}

impl Control {
    /// Starts the thread beside a listener.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn start(listener: &TcpListener, router: Router, header_time: Duration) -> io::Result<Self> {
        let again = StdListener::from(listener.as_fd().try_clone_to_owned()?);
        let shared = Arc::new(Shared { beats: AtomicU64::new(0), listener: Mutex::new(Some(again)) });
        let beating = Arc::clone(&shared);
        let watching = Arc::clone(&shared);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let serving = OnControl(Handle::current());
        thread::Builder::new().name("control".to_owned()).spawn(move || {
            runtime.block_on(watch(&watching, &Serving { router, header_time, serving }));
        })?;
        let heart = tokio::spawn(async move {
            loop {
                beating.beats.fetch_add(1, Ordering::Relaxed);
                sleep(BEAT).await;
            }
        });
        Ok(Self { shared, heart })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.heart.abort();
        drop(lock(&self.shared.listener).take());
    }
}

/// With what a request is served.
#[derive(Clone)]
struct Serving {
    router: Router,
    header_time: Duration,
    serving: OnControl,
}

async fn watch(shared: &Shared, serving: &Serving) {
    let (mut seen, mut missed) = (0, 0);
    loop {
        sleep(BEAT).await;
        let beats = shared.beats.load(Ordering::Relaxed);
        (seen, missed) = if beats == seen { (seen, missed + 1) } else { (beats, 0) };
        let listener = match &*lock(&shared.listener) {
            None => return,
            Some(_) if missed < LATE => continue,
            Some(listener) => listener.try_clone().and_then(TcpListener::from_std),
        };
        if missed == LATE {
            tracing::warn!("the serving threads are late: the control thread serves as well");
        }
        match listener {
            Ok(listener) => {
                // Why ignored: after each beat it looks again whether it is still needed.
                let _ = timeout(BEAT, accept(listener, serving)).await;
            }
            Err(error) => tracing::error!(%error, "the control thread has no listener"),
        }
    }
}

async fn accept(listener: TcpListener, serving: &Serving) {
    while let Ok((stream, peer)) = listener.accept().await {
        tokio::spawn(one_request(stream, Peer(peer), serving.clone()));
    }
}

async fn one_request(stream: TcpStream, peer: Peer, serving: Serving) {
    let Serving { router, header_time, serving } = serving;
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(serving.clone());
        request.extensions_mut().insert(peer);
        let router = router.clone();
        async move { router.call(request).await.map_err(|never: Infallible| never) }
    });
    // Why ignored: a caller that disconnected has no use for an error.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_time)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
