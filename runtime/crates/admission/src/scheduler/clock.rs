//! Time during which the process ran: between two readings of the clock at most [`ONE_WAIT`] passes.
//!
//! A process that was stopped, or had no processor for a moment, continues as before: calls that waited meanwhile can
//! be served at once and are not too late. While calls wait because others compute, the clock is read all the time.

use std::time::{Duration, Instant};

use super::tenant_queues::ONE_WAIT;

/// Adds up the time that was missed.
pub(super) struct Clock {
    looked: Instant,
    missed: Duration,
}

impl Clock {
    /// Nothing was missed before `now`.
    pub(super) fn starting(now: Instant) -> Self {
        Self { looked: now, missed: Duration::ZERO }
    }

    /// The process's own time at the system's `now`.
    pub(super) fn at(&mut self, now: Instant) -> Instant {
        self.missed += now.saturating_duration_since(self.looked).saturating_sub(ONE_WAIT);
        self.looked = self.looked.max(now);
        now.checked_sub(self.missed).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use portcullis_core::limits::Limits;

    use super::super::{Refused, Scheduler};
    use super::*;

    #[test]
    fn time_in_which_nobody_looked_counts_for_one_wait() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut lived = Clock::starting(begin);
        for (looked, expected) in [(40, 40), (90, 90), (1090, 140), (1080, 130), (1100, 150), (9000, 200)] {
            assert_eq!(lived.at(at(looked)), at(expected), "at {looked}");
        }
    }

    /// A call waits too long for its first turn, while others arrive continuously or only at the end.
    #[test]
    fn nobody_is_late_for_a_stop_of_the_process_but_for_others_who_compute() {
        for stopped in [true, false] {
            let queue = Duration::from_millis(500);
            let turns = Scheduler::with(&Limits { queue_ms: 500, ..Limits::default() }, 1);
            let mut context = Context::from_waker(Waker::noop());
            turns.0.lock().free -= 1;
            let mut waits = turns.admit("a", usize::MAX).unwrap().run(ready(()));
            let since = turns.0.lock().now();
            assert!(Pin::new(&mut waits).poll(&mut context).is_pending());
            if stopped {
                std::thread::sleep(Duration::from_millis(600));
            } else {
                while turns.0.lock().now().duration_since(since) <= queue {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            let next = turns.admit("a", usize::MAX).map(drop);
            turns.0.pass_on();
            let ended = Pin::new(&mut waits).poll(&mut context);
            let expected = if stopped { Ok(()) } else { Err(Refused::Queue(queue)) };
            assert_eq!((next, ended), (expected, Poll::Ready(expected)));
        }
    }
}
