//! What is admitted, in which order turns are given, and that none is lost.

use std::future::{pending, poll_fn, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::tenant_queues::{FASTER_BEGINNINGS, MARGIN, PACE_AT_FIRST, Wait};
use super::*;

mod crowd;
mod orgs;

/// An org without a limit of its own.
const FREE: usize = usize::MAX;

fn scheduler(turns: usize, calls: u64, each: u64, queue_ms: u64) -> Scheduler {
    let limits =
        Limits { concurrent_calls: calls, workspace_concurrent_calls: each, queue_ms, ..Limits::default() };
    Scheduler::with(&limits, turns)
}

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<F: Future + Unpin>(future: &mut F, bell: &Arc<Bell>) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(&Waker::from(Arc::clone(bell))))
}

/// Ready at its n-th poll.
fn polls(count: usize) -> impl Future<Output = ()> + Unpin {
    let mut left = count;
    poll_fn(move |_| {
        left -= 1;
        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
}

#[test]
fn a_workspace_is_refused_at_its_own_limit_and_its_neighbour_is_not() {
    let scheduler = scheduler(1, 10, 3, 100);
    let held: Vec<Permit> = (0..3).map(|_| scheduler.admit("acme/main", FREE).unwrap()).collect();
    assert_eq!(scheduler.admit("acme/main", FREE).err(), Some(Refused::Workspace(3)));
    let neighbour = scheduler.admit("acme/other", FREE).unwrap();
    assert_eq!(scheduler.calls(), 4);
    drop(held);
    drop(neighbour);
    assert_eq!(scheduler.calls(), 0);
    scheduler.admit("acme/main", FREE).unwrap();
}

#[test]
fn a_process_is_full_for_everybody() {
    let scheduler = scheduler(1, 2, 2, 100);
    let first = scheduler.admit("a", FREE).unwrap();
    let _second = scheduler.admit("b", FREE).unwrap();
    assert_eq!(scheduler.admit("c", FREE).err(), Some(Refused::Process(2)));
    drop(first);
    scheduler.admit("c", FREE).unwrap();
}

/// Holds a turn while others arrive.
fn while_busy(scheduler: &Scheduler, act: impl FnOnce()) {
    scheduler.0.lock().free -= 1;
    act();
    scheduler.0.pass_on();
}

#[test]
fn turns_go_round_the_workspaces_and_to_what_has_begun_first() {
    let scheduler = scheduler(1, 100, 100, 1000);
    let bell = Arc::new(Bell::default());
    let mut noisy: Vec<_> = (0..5).map(|_| scheduler.admit("noisy", FREE).unwrap().run(polls(2))).collect();
    // One that has begun, and waits for its second turn.
    assert!(poll(&mut noisy[4], &bell).is_pending());
    let mut quiet = scheduler.admit("quiet", FREE).unwrap().run(ready(()));
    while_busy(&scheduler, || {
        for call in &mut noisy {
            assert!(poll(call, &bell).is_pending());
        }
        assert!(poll(&mut quiet, &bell).is_pending());
    });
    // All poll at every turn: only the one whose turn it is makes progress.
    assert!(poll(&mut noisy[0], &bell).is_pending() && poll(&mut quiet, &bell).is_pending());
    assert!(poll(&mut noisy[4], &bell).is_ready(), "what has begun is first in its tenant");
    assert!(poll(&mut noisy[0], &bell).is_pending(), "the other workspace is next");
    assert!(poll(&mut quiet, &bell).is_ready());
    assert!(poll(&mut noisy[1], &bell).is_pending());
    assert!(poll(&mut noisy[0], &bell).is_pending());
    assert!(noisy[0].fresh_since.is_none(), "it has computed once");
}

#[test]
fn behind_a_long_queue_of_the_runtime_a_call_computes_only_once_it_was_woken() {
    let scheduler = scheduler(1, 10, 10, 1000);
    let (bell, other) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
    let rung = |bell: &Bell| bell.0.load(Ordering::SeqCst);
    scheduler.0.lock().dispatch.took(Duration::from_millis(5));
    let mut fresh = scheduler.admit("a", FREE).unwrap().run(polls(1));
    let mut begun = scheduler.admit("a", FREE).unwrap().run(polls(1));
    begun.fresh_since = None;
    assert!(poll(&mut fresh, &bell).is_pending());
    assert_eq!(rung(&bell), 1, "the turn is its own");
    assert!(poll(&mut begun, &other).is_pending());
    assert_eq!(rung(&other), 0, "there is no other");
    assert!(poll(&mut fresh, &bell).is_ready());
    assert_eq!(rung(&other), 1);
    assert!(poll(&mut begun, &other).is_ready());
    let mut third = scheduler.admit("a", FREE).unwrap().run(polls(1));
    assert!(poll(&mut third, &bell).is_ready(), "it was a short way, so the next computes at once");
}

#[test]
fn beside_one_that_computes_a_call_takes_its_place_in_the_rotation() {
    let scheduler = scheduler(2, 10, 10, 1000);
    let (bell, other) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
    let mut beside = scheduler.admit("a", FREE).unwrap().run(ready(()));
    let mut alone = scheduler.admit("a", FREE).unwrap().run(ready(()));
    while_busy(&scheduler, || {
        assert!(poll(&mut beside, &bell).is_pending());
        assert_eq!(bell.0.load(Ordering::SeqCst), 1, "there is a turn for it, once the runtime comes to it");
        assert!(poll(&mut beside, &bell).is_ready());
    });
    assert!(poll(&mut alone, &other).is_ready());
    assert_eq!(other.0.load(Ordering::SeqCst), 0, "it computes at once");
}

#[test]
fn how_long_the_way_is_is_asked_again_and_again() {
    let scheduler = scheduler(1, 10, 10, 1000);
    let bell = Arc::new(Bell::default());
    let mut call = scheduler.admit("a", FREE).unwrap().run(polls(100));
    let sent_round = (0..64).filter(|_| {
        let before = bell.0.load(Ordering::SeqCst);
        assert!(poll(&mut call, &bell).is_pending());
        bell.0.load(Ordering::SeqCst) > before
    });
    assert_eq!(sent_round.count(), 64 / (usize::from(MEASURED) + 2));
}

/// Woken at once, behind all that were woken before; `yield_now` would put it behind a look at the sockets.
fn at_the_back() -> impl Future<Output = ()> {
    let mut woken = false;
    poll_fn(move |context| {
        if std::mem::replace(&mut woken, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

#[tokio::test]
async fn one_call_ends_soon_beside_a_hundred_of_another_workspace() {
    let scheduler = scheduler(2, 1000, 1000, 60_000);
    let polled = Arc::new(AtomicUsize::new(0));
    let call = |workspace, polled: Arc<AtomicUsize>| {
        scheduler.admit(workspace, FREE).unwrap().run(Box::pin(async move {
            for _ in 0..20 {
                polled.fetch_add(1, Ordering::SeqCst);
                let until = Instant::now() + Duration::from_micros(100);
                while Instant::now() < until {}
                at_the_back().await;
            }
        }))
    };
    let noisy: Vec<_> = (0..100).map(|_| tokio::spawn(call("noisy", Arc::clone(&polled)))).collect();
    tokio::spawn(call("quiet", Arc::default())).await.unwrap().unwrap();
    let before = polled.load(Ordering::SeqCst);
    // In the order of waking it would have been 2,000: all of them.
    assert!(before < 300, "{before} times a call of the other workspace was before it");
    for call in noisy {
        call.await.unwrap().unwrap();
    }
}

#[test]
fn one_that_came_too_late_already_is_refused_before_others_and_is_no_beginning() {
    let (mut tenants, tenant, at) = one_lane();
    let (queue, noop) = (Duration::from_millis(100), || Waker::noop().clone());
    let begun = tenants.wait_for_turn(tenant, None, noop(), at(150));
    // It waited, spawned and not polled, for all of its time.
    let late = tenants.wait_for_turn(tenant, Some(at(0)), noop(), at(150));
    assert!(tenants.next(at(151), queue).is_some());
    assert!(
        tenants.granted(late, Waker::noop()).is_some() && tenants.granted(begun, Waker::noop()).is_none()
    );
    assert_eq!(tenants.wait(tenant, at(152)), Wait::default(), "no call waits to begin");
}

#[test]
fn a_call_is_gone_before_its_place_is_free() {
    struct Holds(Arc<Shared>, Arc<AtomicUsize>);
    impl Drop for Holds {
        fn drop(&mut self) {
            self.1.store(self.0.lock().calls, Ordering::SeqCst);
        }
    }
    let scheduler = scheduler(1, 10, 10, 100);
    let calls = Arc::new(AtomicUsize::new(0));
    let holds = Holds(Arc::clone(&scheduler.0), Arc::clone(&calls));
    let bell = Arc::new(Bell::default());
    let mut call = scheduler.admit("a", FREE).unwrap().run(Box::pin(async move {
        let _holds = holds;
        pending::<()>().await;
    }));
    assert!(poll(&mut call, &bell).is_pending());
    drop(call);
    assert_eq!((calls.load(Ordering::SeqCst), scheduler.calls()), (1, 0));
}

#[test]
fn a_turn_is_not_lost_with_the_call_it_was_given_to() {
    let scheduler = scheduler(1, 10, 10, 1000);
    let bell = Arc::new(Bell::default());
    let mut first = scheduler.admit("a", FREE).unwrap().run(ready(()));
    let mut second = scheduler.admit("a", FREE).unwrap().run(ready(()));
    let mut third = scheduler.admit("a", FREE).unwrap().run(ready(()));
    while_busy(&scheduler, || {
        for call in [&mut first, &mut second, &mut third] {
            assert!(poll(call, &bell).is_pending());
        }
        // A call that is dropped while it waits.
        drop(second);
    });
    assert_eq!(bell.0.load(Ordering::SeqCst), 1, "the first was given the turn");
    drop(first);
    assert_eq!(bell.0.load(Ordering::SeqCst), 2, "then the third");
    assert!(poll(&mut third, &bell).is_ready());
    drop(third);
    let state = scheduler.0.lock();
    assert_eq!((state.free, state.calls), (1, 0));
}

#[test]
fn a_call_that_waits_for_something_else_holds_no_turn() {
    let scheduler = scheduler(1, 10, 10, 1000);
    let bell = Arc::new(Bell::default());
    let mut waits = scheduler.admit("a", FREE).unwrap().run(pending::<()>());
    assert!(poll(&mut waits, &bell).is_pending());
    let mut other = scheduler.admit("b", FREE).unwrap().run(ready(()));
    assert!(poll(&mut other, &bell).is_ready());
}

#[test]
fn a_panic_gives_its_turn_back() {
    let scheduler = scheduler(1, 10, 10, 1000);
    let bell = Arc::new(Bell::default());
    let mut bad = scheduler.admit("a", FREE).unwrap().run(poll_fn(|_| -> Poll<()> { panic!("as meant") }));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut bad, &bell)));
    assert!(outcome.is_err());
    let mut other = scheduler.admit("b", FREE).unwrap().run(ready(()));
    assert!(poll(&mut other, &bell).is_ready());
}

/// A time, and a function for the times a number of milliseconds after it.
fn clock() -> (Instant, impl Fn(u64) -> Instant) {
    let begin = Instant::now();
    (begin, move |ms| begin + Duration::from_millis(ms))
}

/// Queues of which one has a call.
fn one_lane() -> (TenantQueues, usize, impl Fn(u64) -> Instant) {
    let mut tenants = TenantQueues::default();
    let tenant = tenants.open("a");
    tenants.enter(tenant);
    (tenants, tenant, clock().1)
}

#[test]
fn a_call_that_would_begin_too_late_is_refused_at_once_and_another_workspace_is_not() {
    let limits = scheduler(1, 1000, 1000, 100);
    let mut tenants = TenantQueues::default();
    let (full, other) = (tenants.open("full"), tenants.open("other"));
    let bell = Waker::from(Arc::new(Bell::default()));
    let (begin, at) = clock();
    for _ in 0..640 {
        tenants.wait_for_turn(full, Some(begin), bell.clone(), begin);
    }
    let guess = 640 * PACE_AT_FIRST;
    let stalled = Duration::from_millis(50);
    assert_eq!(
        tenants.wait(full, at(50)),
        Wait { expected: guess, stalled },
        "nothing is known of its pace yet"
    );
    // One start every ten milliseconds.
    for turn in 1..=600 {
        assert!(tenants.next(at(turn * 10), Duration::from_secs(60)).is_some());
    }
    let wait = tenants.wait(full, at(6005)).expected;
    assert!(wait > Duration::from_millis(350) && wait < Duration::from_millis(450), "{wait:?} for 40");
    assert_eq!(tenants.wait(other, at(6005)), Wait::default());
    // No turn is given any more.
    assert!(tenants.wait(full, at(70_000)).longest() > Duration::from_secs(60));
    assert!(limits.admit("full", FREE).is_ok(), "another process knows nothing of it");
}

#[test]
fn the_pace_is_remembered_and_the_late_do_not_count() {
    let (mut tenants, tenant, at) = one_lane();
    let queue = Duration::from_millis(50);
    for turn in 0..600 {
        tenants.wait_for_turn(tenant, Some(at(turn * 10)), Waker::noop().clone(), at(turn * 10));
        assert!(tenants.next(at(turn * 10 + 10), queue).is_some());
    }
    assert!(tenants.next(at(6010), queue).is_none(), "the queue is empty");
    // A crowd that arrives an hour later, and waits too long.
    let later = 3_600_000;
    for _ in 0..100 {
        tenants.wait_for_turn(tenant, Some(at(later)), Waker::noop().clone(), at(later));
    }
    let wait = tenants.wait(tenant, at(later)).expected;
    assert!(wait > Duration::from_millis(900) && wait < Duration::from_millis(1100), "{wait:?} for 100");
    for _ in 0..50 {
        assert!(tenants.next(at(later + 60), queue).is_some());
    }
    let wait = tenants.wait(tenant, at(later + 60)).expected;
    assert!(wait > Duration::from_millis(450), "{wait:?} for 50, whose pace was not measured since");
}

#[test]
fn a_process_that_was_stopped_for_a_moment_refuses_nobody_for_it() {
    let (mut tenants, tenant, at) = one_lane();
    let queue = Duration::from_millis(100);
    for _ in 0..20 {
        tenants.wait_for_turn(tenant, Some(at(0)), Waker::noop().clone(), at(0));
    }
    let before = tenants.wait(tenant, at(0)).longest();
    assert!(before < Duration::from_millis(20), "{before:?}: a short queue");
    assert!(tenants.wait(tenant, at(60)).longest() < queue, "it goes on as before");
    assert!(tenants.wait(tenant, at(100)).longest() > queue, "no call begins any more");
}

#[test]
fn a_pause_is_not_the_pace() {
    let (mut tenants, tenant, at) = one_lane();
    let queue = Duration::from_secs(10);
    for _ in 0..20 {
        tenants.wait_for_turn(tenant, Some(at(0)), Waker::noop().clone(), at(0));
    }
    // A second without starts, then one every millisecond.
    for turn in 0..10 {
        assert!(tenants.next(at(1000 + turn), queue).is_some());
    }
    assert_eq!(tenants.wait(tenant, at(1009)).expected, 10 * PACE_AT_FIRST);
}

#[test]
fn a_pace_that_was_slow_once_is_forgotten_when_calls_begin_at_once() {
    let (mut tenants, tenant, at) = one_lane();
    let queue = Duration::from_secs(10);
    for _ in 0..6 {
        tenants.wait_for_turn(tenant, Some(at(0)), Waker::noop().clone(), at(0));
    }
    for turn in 1..=4 {
        assert!(tenants.next(at(50 * turn), queue).is_some());
    }
    assert_eq!(tenants.wait(tenant, at(200)).expected, Duration::from_millis(100), "two, at 50 ms each");
    // A few at a time prove nothing, however long ago it was.
    for _ in 0..FASTER_BEGINNINGS - 1 {
        tenants.begun_at_once(at(10_000));
    }
    assert_eq!(tenants.wait(tenant, at(10_000)).expected, Duration::from_millis(100));
    tenants.begun_at_once(at(11_000));
    assert_eq!(tenants.wait(tenant, at(11_000)).expected, 2 * PACE_AT_FIRST);
}

#[test]
fn a_burst_is_not_the_pace() {
    let (mut tenants, tenant, at) = one_lane();
    // Every fifty milliseconds twenty at once.
    for turn in 0..20 {
        let now = at(50 * turn);
        for _ in 0..20 {
            tenants.wait_for_turn(tenant, Some(now), Waker::noop().clone(), now);
        }
        for _ in 0..20 {
            assert!(tenants.next(now + Duration::from_millis(50), Duration::from_secs(1)).is_some());
        }
    }
    let now = at(1000);
    for _ in 0..100 {
        tenants.wait_for_turn(tenant, Some(now), Waker::noop().clone(), now);
    }
    let wait = tenants.wait(tenant, now).expected;
    assert!(wait > Duration::from_millis(200) && wait < Duration::from_millis(300), "{wait:?} for 100");
}

#[test]
fn lanes_share_the_pace() {
    let mut tenants = TenantQueues::default();
    let (busy, short) = (tenants.open("busy"), tenants.open("short"));
    let now = Instant::now();
    let mut wait = |tenant| tenants.wait_for_turn(tenant, Some(now), Waker::noop().clone(), now);
    let first = wait(busy);
    for _ in 1..40 {
        wait(busy);
    }
    wait(short);
    assert_eq!(
        tenants.wait(busy, now).expected,
        41 * PACE_AT_FIRST,
        "it has all turns once the other is served"
    );
    assert_eq!(tenants.wait(short, now).expected, 2 * PACE_AT_FIRST, "one of each tenant");
    assert!(!tenants.forget(first));
    assert_eq!(tenants.wait(busy, now).expected, 40 * PACE_AT_FIRST);
}

#[test]
fn spawned_calls_are_before_the_ones_that_come_next() {
    let scheduler = scheduler(1, 1000, 1000, 10);
    let room = Duration::from_millis(10).as_micros() / (u128::from(MARGIN) * PACE_AT_FIRST.as_micros()) + 1;
    let crowd: Vec<_> = (0..room).map(|_| scheduler.admit("a", FREE).unwrap().run(ready(()))).collect();
    assert_eq!(scheduler.admit("a", FREE).err(), Some(Refused::Queue(Duration::from_millis(10))));
    assert!(scheduler.admit("b", FREE).is_ok());
    drop(crowd);
    let bell = Arc::new(Bell::default());
    for _ in 0..room {
        let mut call = scheduler.admit("a", FREE).unwrap().run(ready(()));
        while poll(&mut call, &bell).is_pending() {}
    }
}

#[test]
fn one_that_waited_too_long_is_told_so_before_those_that_have_begun_go_on() {
    let mut tenants = TenantQueues::default();
    let tenant = tenants.open("a");
    let (early, late) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
    let begin = Instant::now();
    let queue = Duration::from_millis(100);
    tenants.wait_for_turn(tenant, Some(begin), Waker::from(Arc::clone(&late)), begin);
    for _ in 0..3 {
        tenants.wait_for_turn(tenant, None, Waker::from(Arc::clone(&early)), begin);
    }
    tenants.next(begin + Duration::from_millis(50), queue).unwrap().wake();
    assert_eq!((early.0.load(Ordering::SeqCst), late.0.load(Ordering::SeqCst)), (1, 0));
    tenants.next(begin + Duration::from_millis(150), queue).unwrap().wake();
    assert_eq!((early.0.load(Ordering::SeqCst), late.0.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn those_who_went_away_are_not_kept() {
    let mut tenants = TenantQueues::default();
    let tenant = tenants.open("a");
    let bell = Arc::new(Bell::default());
    let now = Instant::now();
    let stays = tenants.wait_for_turn(tenant, Some(now), Waker::from(Arc::new(Bell::default())), now);
    for _ in 0..1000 {
        let number = tenants.wait_for_turn(tenant, Some(now), Waker::from(Arc::clone(&bell)), now);
        assert!(number < 40, "numbers are used again: {number}");
        assert!(!tenants.forget(number));
    }
    assert_eq!(Arc::strong_count(&bell), 1, "nothing holds their tasks");
    assert!(tenants.next(now, Duration::from_secs(1)).is_some());
    assert!(tenants.granted(stays, Waker::noop()).is_some());
    assert!(tenants.next(now, Duration::from_secs(1)).is_none());
}

#[tokio::test]
async fn a_first_turn_that_comes_too_late_is_a_refusal() {
    let scheduler = scheduler(1, 10, 10, 20);
    let bell = Arc::new(Bell::default());
    let mut late = scheduler.admit("a", FREE).unwrap().run(ready(()));
    let mut begun = scheduler.admit("a", FREE).unwrap().run(polls(2));
    assert!(poll(&mut begun, &bell).is_pending());
    scheduler.0.lock().free -= 1;
    assert!(poll(&mut late, &bell).is_pending() && poll(&mut begun, &bell).is_pending());
    tokio::time::sleep(Duration::from_millis(40)).await;
    scheduler.0.pass_on();
    assert_eq!(poll(&mut late, &bell), Poll::Ready(Err(Refused::Queue(Duration::from_millis(20)))));
    assert_eq!(poll(&mut begun, &bell), Poll::Ready(Ok(())), "what has begun is not refused any more");
}
