//! A job: a task that workers poll, one at a time, each time that it was woken.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use portcullis_core::offload;
use portcullis_core::sync::lock;
use tokio::runtime::Handle;

use super::Lane;
use super::queues::Shared;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task with its state.
pub(super) struct Job {
    shared: Arc<Shared>,
    pub(super) lane: Lane,
    /// The runtime whose timers, sockets and tasks it uses.
    runtime: Handle,
    state: Mutex<State>,
    /// Whether a worker has polled it.
    pub(super) begun: AtomicBool,
}

enum State {
    /// Waits for something.
    Idle(Task),
    /// Waits for a worker.
    Queued(Task),
    /// A worker polls it.
    Polled,
    /// A worker polls it, and it was woken meanwhile.
    Woken,
    /// It has ended, or nobody waits for it.
    Ended,
}

impl Job {
    /// Queues a task. Must be called inside an async runtime.
    pub(super) fn start(shared: &Arc<Shared>, lane: Lane, task: Task) -> Arc<Self> {
        let job = Arc::new(Self {
            shared: Arc::clone(shared),
            lane,
            runtime: Handle::current(),
            state: Mutex::new(State::Queued(task)),
            begun: AtomicBool::new(false),
        });
        shared.enqueue(Arc::clone(&job));
        job
    }

    /// Polls the task once.
    pub(super) fn poll(self: &Arc<Self>) {
        let mut task = {
            let mut state = lock(&self.state);
            match std::mem::replace(&mut *state, State::Polled) {
                State::Queued(task) => task,
                other => {
                    *state = other;
                    return;
                }
            }
        };
        self.begun.store(true, Ordering::Release);
        let waker = Waker::from(Arc::clone(self));
        let _runtime = self.runtime.enter();
        let poll = || offload::on_worker(|| task.as_mut().poll(&mut Context::from_waker(&waker)));
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Poll::Pending) => self.put_back(task),
            ended => {
                if ended.is_err() {
                    tracing::error!("a task of a worker panicked");
                }
                *lock(&self.state) = State::Ended;
                // Why before the runtime is left: what it held may need one to be closed.
                drop(task);
            }
        }
    }

    /// Keeps a task that is not done; drops it if nobody waits for it any more.
    fn put_back(self: &Arc<Self>, task: Task) {
        let mut state = lock(&self.state);
        match &*state {
            State::Ended => {
                drop(state);
                drop(task);
            }
            State::Woken => {
                *state = State::Queued(task);
                drop(state);
                self.shared.enqueue(Arc::clone(self));
            }
            _ => *state = State::Idle(task),
        }
    }

    /// Drops the task; one that is being polled, after that poll.
    pub(super) fn cancel(&self) {
        let before = std::mem::replace(&mut *lock(&self.state), State::Ended);
        // Why here: dropping it may wake it.
        drop(before);
    }
}

impl Wake for Job {
    fn wake(self: Arc<Self>) {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, State::Ended) {
            State::Idle(task) => {
                *state = State::Queued(task);
                drop(state);
                self.shared.enqueue(Arc::clone(&self));
            }
            State::Polled | State::Woken => *state = State::Woken,
            other => *state = other,
        }
    }
}
