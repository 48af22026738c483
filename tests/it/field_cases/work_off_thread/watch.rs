//! The product on a thread of its own, whose polls are watched: how much of the thread's processor time each one
//! takes. Time on the wall is not looked at, so a busy machine changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use cpu_time::ThreadTime;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::support::{Stage, Tenant, Upstream, World};

/// The longest that one poll of a task may compute.
const POLL_MAX: Duration = Duration::from_millis(10);

/// How much longer the same poll may compute beside other tests, which take its caches and half of its core.
/// `make prove` runs the tests one at a time and allows nothing more.
fn busy() -> u32 {
    if std::env::var_os("PORTCULLIS_ALONE").is_some() { 1 } else { 6 }
}

/// A product whose polls are watched. Clients and the third party are on the test's own thread.
pub(super) struct Watched {
    pub(super) world: World,
    pub(super) acme: Tenant,
    pub(super) upstream: Upstream,
    longest_us: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watched {
    pub(super) async fn start(stage: Stage) -> Self {
        let upstream = Upstream::start(&["*.salesforce.com"]).await;
        let stage =
            Stage { third_party: Some((upstream.address, upstream.ca_pem.clone())), sled: true, ..stage };
        let (longest_us, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (started, starts) = oneshot::channel();
        let (longest, stopped) = (Arc::clone(&longest_us), Arc::clone(&stop));
        let run = move || {
            // Why 1: the watch is polled after every task.
            let runtime = Builder::new_current_thread().enable_all().event_interval(1).build().unwrap();
            runtime.block_on(async move {
                let world = stage.start().await;
                let acme = world.tenant("acme", "main").await;
                assert!(started.send((world, acme)).is_ok());
                while !stopped.load(Ordering::Relaxed) {
                    let before = ThreadTime::now();
                    tokio::task::yield_now().await;
                    let took = u64::try_from(before.elapsed().as_micros()).unwrap();
                    longest.fetch_max(took, Ordering::Relaxed);
                }
            });
            // Why not waited for: the world is dropped by the test.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("product".to_owned()).spawn(run).unwrap();
        let (world, acme) = starts.await.unwrap();
        Self { world, acme, upstream, longest_us, stop, thread: Some(thread) }
    }

    /// The longest poll since the last look.
    pub(super) fn longest(&self) -> Duration {
        Duration::from_micros(self.longest_us.swap(0, Ordering::Relaxed))
    }

    /// Asserts that no poll since the last look was too long.
    #[track_caller]
    pub(super) fn assert_short(&self, what: &str) {
        let longest = self.longest();
        assert!(longest <= POLL_MAX * busy(), "{what}: a poll computed for {longest:?}");
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !thread::panicking()
        {
            panic!("the product's thread panicked");
        }
    }
}
