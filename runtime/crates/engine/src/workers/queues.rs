//! The queues of the worker threads: the platform's changes first, then tenants in rotation.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use portcullis_core::limits::Limits;
use portcullis_core::sync::{lock, whole};

use super::job::Job;
use super::{Lane, Seats};

/// What the threads and the tasks share.
pub(super) struct Shared {
    queues: Mutex<Queues>,
    /// Told when there is a job.
    coming: Condvar,
    pub(super) seats: Mutex<Seats>,
    pub(super) inline_bytes: u64,
    pub(super) bytes_max: u64,
    pub(super) lane_bytes_max: u64,
    pub(super) wait: Duration,
    /// Tasks that are being polled.
    pub(super) polled: AtomicUsize,
}

#[derive(Default)]
struct Queues {
    control: VecDeque<Arc<Job>>,
    tenants: HashMap<Box<str>, VecDeque<Arc<Job>>>,
    /// Tenants with jobs, the next one first.
    rotation: VecDeque<Box<str>>,
    stopped: bool,
}

impl Shared {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            queues: Mutex::default(),
            coming: Condvar::new(),
            seats: Mutex::default(),
            inline_bytes: limits.inline_bytes,
            bytes_max: limits.worker_bytes,
            lane_bytes_max: limits.org_worker_bytes,
            wait: Duration::from_millis(limits.worker_wait_ms),
            polled: AtomicUsize::new(0),
        }
    }

    /// Puts a job at the end of its lane's queue.
    pub(super) fn enqueue(&self, job: Arc<Job>) {
        let mut queues = lock(&self.queues);
        if queues.stopped {
            return;
        }
        match &job.lane {
            Lane::Control => queues.control.push_back(job),
            Lane::Tenant(name) => {
                let Queues { tenants, rotation, .. } = &mut *queues;
                match tenants.get_mut(name) {
                    Some(queue) => queue.push_back(job),
                    None => {
                        rotation.push_back(name.clone());
                        tenants.insert(name.clone(), VecDeque::from([job]));
                    }
                }
            }
        }
        drop(queues);
        // Why all: the thread that is told must be one that takes this kind of job.
        self.coming.notify_all();
    }

    /// The next job for a thread; waits for one. `None` when the threads are to end.
    pub(super) fn next(&self, control_only: bool) -> Option<Arc<Job>> {
        let mut queues = lock(&self.queues);
        loop {
            if queues.stopped {
                return None;
            }
            if let Some(job) = queues.control.pop_front() {
                return Some(job);
            }
            if let Some(job) = (!control_only).then(|| queues.next_tenants()).flatten() {
                return Some(job);
            }
            queues = whole(self.coming.wait(queues));
        }
    }

    /// Ends the threads; jobs that wait are dropped.
    pub(super) fn stop(&self) {
        let left = {
            let mut queues = lock(&self.queues);
            std::mem::replace(&mut *queues, Queues { stopped: true, ..Queues::default() })
        };
        self.coming.notify_all();
        drop(left);
    }
}

impl Queues {
    fn next_tenants(&mut self) -> Option<Arc<Job>> {
        let name = self.rotation.pop_front()?;
        let queue = self.tenants.get_mut(&name)?;
        let job = queue.pop_front();
        if queue.is_empty() {
            self.tenants.remove(&name);
        } else {
            self.rotation.push_back(name);
        }
        job
    }
}
