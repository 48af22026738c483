//! How a task says that what follows takes long: it asks to be continued on a worker thread.
//!
//! A task that computes for long on a thread of the async runtime holds up every task that waits for that thread. So
//! code that is about to read, check, decode or search a large text awaits [`over`] with its size, or [`to_worker`].
//! Whoever polls the task through [`movable`] then continues it on a thread through [`on_worker`], with everything
//! that it holds; the rest of it is polled there. In a task that nobody can move both do nothing.
//!
//! Only this request and its answer are here. The threads are the engine's.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Where the current thread polls a task.
#[derive(Clone, Copy)]
enum Place {
    /// Nobody can move the task.
    Fixed,
    /// On a thread of the runtime, which may compute over this many bytes.
    Movable(u64),
    /// On a worker thread.
    Worker,
}

thread_local! {
    static PLACE: Cell<Place> = const { Cell::new(Place::Fixed) };
    static WANTED: Cell<bool> = const { Cell::new(false) };
}

/// Restores what the thread was doing, also after a panic.
struct Restore(Place, bool);

impl Restore {
    fn entering(place: Place) -> Self {
        Self(PLACE.replace(place), WANTED.replace(false))
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        PLACE.set(self.0);
        WANTED.set(self.1);
    }
}

/// Polls a task that can be moved. The second value says that it asked for it, and should be polled on a worker
/// thread from now on. Texts of at most `inline_bytes` are no reason to move.
pub fn movable<R>(inline_bytes: u64, poll: impl FnOnce() -> R) -> (R, bool) {
    let _restore = Restore::entering(Place::Movable(inline_bytes));
    let polled = poll();
    (polled, WANTED.get())
}

/// Polls a task on a worker thread.
pub fn on_worker<R>(poll: impl FnOnce() -> R) -> R {
    let _restore = Restore::entering(Place::Worker);
    poll()
}

/// Continues on a worker thread.
pub async fn to_worker() {
    Move { asked: false }.await;
}

/// Continues on a worker thread if so many bytes are too many for a thread of the runtime.
pub async fn over(bytes: usize) {
    let inline = match PLACE.get() {
        Place::Movable(inline) => inline,
        Place::Fixed | Place::Worker => return,
    };
    if bytes as u64 > inline {
        to_worker().await;
    }
}

struct Move {
    asked: bool,
}

impl Future for Move {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.asked || !matches!(PLACE.get(), Place::Movable(_)) {
            return Poll::Ready(());
        }
        self.asked = true;
        WANTED.set(true);
        // Why: between here and the task may be a future that polls only what was woken.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use super::*;

    fn polled(task: Pin<&mut impl Future<Output = ()>>) -> bool {
        task.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_movable_task_stops_where_it_asks_and_goes_on_where_it_was_moved() {
        let mut task = pin!(to_worker());
        assert_eq!(movable(10, || polled(task.as_mut())), (false, true));
        assert!(on_worker(|| polled(task.as_mut())));
        let mut there = pin!(to_worker());
        assert!(on_worker(|| polled(there.as_mut())), "who is there need not move");
    }

    #[test]
    fn a_task_that_nobody_moves_goes_on() {
        assert!(polled(pin!(to_worker())));
        let mut task = pin!(to_worker());
        assert_eq!(movable(10, || polled(task.as_mut())), (false, true));
        assert_eq!(movable(10, || polled(task.as_mut())), (true, false), "it asks once");
    }

    #[test]
    fn only_what_is_over_the_threshold_is_a_reason() {
        assert_eq!(movable(10, || polled(pin!(over(10)))), (true, false));
        assert_eq!(movable(10, || polled(pin!(over(11)))), (false, true));
        assert!(polled(pin!(over(11))));
    }

    #[test]
    fn a_task_inside_another_leaves_it_as_it_was() {
        let ((inner, outer), asked) = movable(10, || {
            let inner = movable(20, || polled(pin!(over(15))));
            (inner, polled(pin!(over(15))))
        });
        assert_eq!((inner, outer, asked), ((true, false), false, true));
    }
}
