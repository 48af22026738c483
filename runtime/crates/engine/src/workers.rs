//! Worker threads: what takes long is computed here, and not on the threads that serve every caller.
//!
//! A task that may take long is made [`Movable`]. It is polled where it is until it asks for more
//! ([`portcullis_core::offload`]); from then on a worker polls it, with everything that it holds, and while it waits
//! for I/O it holds no thread. Tenants take turns, one poll each. What the platform changes has a thread that does
//! nothing else, so that a connector can be switched off whatever the tenants' requests do.
//!
//! A request that is known to be large takes a [`Seat`] first. There are seats for so many bytes, and a part of them
//! for one tenant; without one it is refused at once. A caller that goes away takes its task along, unless a worker
//! is just polling it: then it ends after that poll.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use portcullis_core::offload;
use portcullis_core::sync::lock;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use crate::error::Error;

mod job;
mod queues;

use job::Job;
use queues::Shared;

/// Least number of bytes that a request counts for: it may lead to a definition that is larger than itself.
const SEAT_BYTES_MIN: u64 = 64 * 1024;

/// Time between two looks whether a worker still polls.
const SETTLING: Duration = Duration::from_millis(5);

/// Whose work it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Lane {
    /// A change that the platform makes.
    Control,
    /// An org's, or the platform's under the empty name.
    Tenant(Box<str>),
}

impl Lane {
    /// The lane of an org; of the platform if there is none.
    #[must_use]
    pub fn of(org: Option<&str>) -> Self {
        Self::Tenant(org.unwrap_or_default().into())
    }
}

/// The worker threads of a process. They end when this is dropped.
pub struct Workers(Arc<Shared>);

impl Workers {
    /// Starts the threads.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn start(limits: &Limits) -> io::Result<Self> {
        let workers = Self(Arc::new(Shared::new(limits)));
        for number in 0..limits.worker_threads {
            workers.thread(format!("worker-{number}"), false)?;
        }
        workers.thread("worker-control".to_owned(), true)?;
        Ok(workers)
    }

    fn thread(&self, name: String, control: bool) -> io::Result<()> {
        let shared = Arc::clone(&self.0);
        let work = move || {
            while let Some(job) = shared.next(control) {
                shared.polled.fetch_add(1, Ordering::AcqRel);
                job.poll();
                // Why before the count: dropping it may end a call.
                drop(job);
                shared.polled.fetch_sub(1, Ordering::AcqRel);
            }
        };
        std::thread::Builder::new().name(name).spawn(work).map(drop)
    }

    /// Whether a text of so many bytes goes to a worker.
    #[must_use]
    pub fn are_for(&self, bytes: usize) -> bool {
        bytes as u64 > self.0.inline_bytes
    }

    /// Bytes of the tenants' requests that have a seat.
    pub(crate) fn seated_bytes(&self) -> u64 {
        lock(&self.0.seats).tenants
    }

    /// A seat for a request with a body of so many bytes.
    ///
    /// # Errors
    /// `overloaded`, at once: nothing waits here.
    pub fn admit(&self, lane: &Lane, bytes: usize) -> Result<Seat, Error> {
        let bytes = (bytes as u64).max(SEAT_BYTES_MIN);
        let (all, of_lane) = (self.0.bytes_max, self.0.lane_bytes_max);
        let mut seats = lock(&self.0.seats);
        let own = seats.lanes.get(lane).copied().unwrap_or_default();
        // Why one beside no other: a limit below the size of a body must not forbid every body.
        let (taken, limit, name) = match lane {
            // Why not counted with the others: tenants could take every seat.
            Lane::Control => (own, all, "worker_bytes"),
            Lane::Tenant(_) if own > 0 && own + bytes > of_lane => (own, of_lane, "org_worker_bytes"),
            Lane::Tenant(_) => (seats.tenants, all, "worker_bytes"),
        };
        if taken > 0 && taken + bytes > limit {
            let detail = format!(
                "requests with {taken} bytes are being worked on, the limit is {limit} (limits.{name}); \
                 try again soon"
            );
            return Err(Error::new(Code::Overloaded, detail));
        }
        if matches!(lane, Lane::Tenant(_)) {
            seats.tenants += bytes;
        }
        *seats.lanes.entry(lane.clone()).or_default() += bytes;
        Ok(Seat { shared: Arc::clone(&self.0), lane: lane.clone(), bytes })
    }

    /// A task that starts here and is continued by a worker when it asks for it.
    pub fn movable<F: Task>(&self, lane: Lane, task: F) -> Movable<F> {
        Movable { shared: Arc::clone(&self.0), lane, seat: None, at: At::Here(task) }
    }

    /// A task that a worker does from the beginning, in this seat. If none begins it in time, it is refused.
    pub fn seated<F: Task>(&self, seat: Seat, task: F) -> Movable<F> {
        let (shared, lane) = (Arc::clone(&self.0), seat.lane.clone());
        let patience = Box::pin(sleep(shared.wait));
        let moved = Moved::new(&shared, lane.clone(), task, Some(patience));
        Movable { shared, lane, seat: Some(seat), at: At::Moved(moved) }
    }
}

impl Workers {
    /// Waits until no worker polls a task: the last polls of tasks whose callers are gone.
    pub(crate) async fn settled(&self) {
        while self.0.polled.load(Ordering::Acquire) > 0 {
            sleep(SETTLING).await;
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A task that a worker can do.
pub trait Task: Future<Output: Send> + Send + Unpin + 'static {}

impl<F: Future<Output: Send> + Send + Unpin + 'static> Task for F {}

/// The bytes that an admitted request counts for, released when dropped.
pub struct Seat {
    shared: Arc<Shared>,
    lane: Lane,
    bytes: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = lock(&self.shared.seats);
        if matches!(self.lane, Lane::Tenant(_)) {
            seats.tenants -= self.bytes;
        }
        if let Some(own) = seats.lanes.get_mut(&self.lane) {
            *own -= self.bytes;
            if *own == 0 {
                seats.lanes.remove(&self.lane);
            }
        }
    }
}

/// Bytes of the requests that have a seat.
#[derive(Default)]
struct Seats {
    lanes: HashMap<Lane, u64>,
    /// Of all lanes except the platform's changes.
    tenants: u64,
}

/// A task that may be continued by a worker.
pub struct Movable<F: Task> {
    shared: Arc<Shared>,
    lane: Lane,
    at: At<F>,
    /// Held until the task has ended.
    seat: Option<Seat>,
}

enum At<F: Task> {
    Here(F),
    Moved(Moved<F::Output>),
    Ended,
}

/// A task that a worker does.
struct Moved<T> {
    job: Arc<Job>,
    answer: oneshot::Receiver<T>,
    /// How long it may wait for its beginning.
    patience: Option<Pin<Box<Sleep>>>,
}

impl<T: Send + 'static> Moved<T> {
    fn new(
        shared: &Arc<Shared>,
        lane: Lane,
        task: impl Future<Output = T> + Send + 'static,
        patience: Option<Pin<Box<Sleep>>>,
    ) -> Self {
        let (sender, answer) = oneshot::channel();
        let task = Box::pin(async move {
            // Why ignored: nobody waits for it any more.
            let _ = sender.send(task.await);
        });
        Self { job: Job::start(shared, lane, task), answer, patience }
    }

    fn poll(&mut self, wait: Duration, context: &mut Context<'_>) -> Poll<Result<T, Error>> {
        if let Poll::Ready(answer) = Pin::new(&mut self.answer).poll(context) {
            // Why: the job ended without an answer because it panicked.
            return Poll::Ready(answer.map_err(|_| Error::plain(Code::Internal)));
        }
        let Some(patience) = &mut self.patience else { return Poll::Pending };
        if self.job.begun.load(Ordering::Acquire) {
            self.patience = None;
        } else if patience.as_mut().poll(context).is_ready() {
            let ms = wait.as_millis();
            let detail = format!("no worker was free within {ms} ms (limits.worker_wait_ms); try again soon");
            return Poll::Ready(Err(Error::new(Code::Overloaded, detail)));
        }
        Poll::Pending
    }
}

impl<T> Drop for Moved<T> {
    fn drop(&mut self) {
        self.job.cancel();
    }
}

impl<F: Task> Future for Movable<F> {
    /// `internal` if the task panicked on a worker, `overloaded` if none began it in time.
    type Output = Result<F::Output, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let At::Here(task) = &mut this.at {
            let (polled, wanted) =
                offload::movable(this.shared.inline_bytes, || Pin::new(task).poll(context));
            match polled {
                Poll::Ready(answer) => {
                    this.at = At::Ended;
                    return Poll::Ready(Ok(answer));
                }
                Poll::Pending if wanted => {
                    if let At::Here(task) = std::mem::replace(&mut this.at, At::Ended) {
                        this.at = At::Moved(Moved::new(&this.shared, this.lane.clone(), task, None));
                    }
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        let At::Moved(moved) = &mut this.at else { return Poll::Pending };
        let polled = moved.poll(this.shared.wait, context);
        if polled.is_ready() {
            this.at = At::Ended;
            this.seat = None;
        }
        polled
    }
}

#[cfg(test)]
mod tests;
