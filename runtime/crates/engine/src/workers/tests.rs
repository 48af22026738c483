//! Tasks that are moved, refused, given a turn and dropped.

use std::thread;

use super::*;

fn workers(limits: Limits) -> Workers {
    Workers::start(&limits).unwrap()
}

fn name() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

fn org(name: &str) -> Lane {
    Lane::of(Some(name))
}

#[tokio::test]
async fn a_task_goes_on_where_it_asks_to() {
    let workers = workers(Limits { inline_bytes: 1000, ..Limits::default() });
    let places = |bytes: usize| {
        Box::pin(async move {
            let before = name();
            offload::over(bytes).await;
            tokio::task::yield_now().await;
            (before, name())
        })
    };
    let (before, after) = workers.movable(org("a"), places(1000)).await.unwrap();
    assert_eq!(before, after, "it is small");
    let (before, after) = workers.movable(org("a"), places(1001)).await.unwrap();
    assert!(!before.starts_with("worker-") && after.starts_with("worker-"), "{before} {after}");
    let seat = workers.admit(&org("a"), 1).unwrap();
    let (before, after) = workers.seated(seat, places(0)).await.unwrap();
    assert!(before.starts_with("worker-") && after.starts_with("worker-"), "{before} {after}");
}

#[tokio::test]
async fn a_panic_is_an_error_and_the_worker_goes_on() {
    let workers = workers(Limits { worker_threads: 1, ..Limits::default() });
    for _ in 0..3 {
        let task = Box::pin(async { panic!("the test's") });
        let failed: Result<(), Error> = workers.seated(workers.admit(&org("a"), 1).unwrap(), task).await;
        assert_eq!(failed.unwrap_err().code, Code::Internal);
    }
    let task = Box::pin(async { 7 });
    assert_eq!(workers.seated(workers.admit(&org("a"), 1).unwrap(), task).await.unwrap(), 7);
}

#[tokio::test]
async fn seats_end_for_one_org_and_for_all_but_not_for_the_platforms_changes() {
    let limits = Limits { worker_bytes: 1_000_000, org_worker_bytes: 300_000, ..Limits::default() };
    let workers = workers(limits);
    let whole = workers.admit(&org("a"), 5_000_000).unwrap();
    let refused = workers.admit(&org("a"), 100_000).err().unwrap();
    assert!(refused.detail.contains("limits.org_worker_bytes"), "{}", refused.detail);
    let refused = workers.admit(&org("b"), 100_000).err().unwrap();
    assert_eq!(refused.code, Code::Overloaded);
    assert!(refused.detail.contains("limits.worker_bytes"), "{}", refused.detail);
    assert!(workers.admit(&Lane::Control, 100_000).is_ok());
    drop(whole);
    let all: Vec<Seat> = (0..3).map(|_| workers.admit(&org("a"), 100_000).unwrap()).collect();
    assert!(workers.admit(&org("a"), 1).is_err());
    assert!(workers.admit(&org("b"), 300_000).is_ok());
    drop(all);
    assert!(workers.admit(&org("a"), 300_000).is_ok());
}

/// Keeps a worker's thread until it is dropped.
fn occupied(workers: &Workers, lane: Lane) -> (std::sync::mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let task = workers.movable(
        lane,
        Box::pin(async move {
            offload::to_worker().await;
            // Why ignored: the other end is dropped.
            let _ = held.recv();
        }),
    );
    (hold, tokio::spawn(async move { task.await.unwrap() }))
}

/// Waits until so many workers poll.
async fn busy(workers: &Workers, count: usize) {
    let busy = async {
        while workers.0.polled.load(Ordering::Acquire) < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), busy).await.expect("the workers are busy");
}

#[tokio::test]
async fn the_platforms_changes_are_made_while_every_worker_is_busy() {
    let limits = Limits { worker_threads: 2, worker_wait_ms: 100, ..Limits::default() };
    let workers = workers(limits);
    let held: Vec<_> = (0..4).map(|_| occupied(&workers, org("a"))).collect();
    busy(&workers, 2).await;
    let seat = workers.admit(&Lane::Control, 1).unwrap();
    assert_eq!(workers.seated(seat, Box::pin(async { name() })).await.unwrap(), "worker-control");
    let seat = workers.admit(&org("b"), 1).unwrap();
    let refused = workers.seated(seat, Box::pin(async { name() })).await.unwrap_err();
    assert!(refused.detail.contains("limits.worker_wait_ms"), "{}", refused.detail);
    for (hold, task) in held {
        drop(hold);
        task.await.unwrap();
    }
}

#[tokio::test]
async fn tenants_take_turns_however_many_tasks_one_has() {
    let workers = workers(Limits { worker_threads: 1, ..Limits::default() });
    let (hold, first) = occupied(&workers, org("a"));
    busy(&workers, 1).await;
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for lane in ["a", "a", "a", "a", "b"] {
        let order = Arc::clone(&order);
        let task = Box::pin(async move { lock(&order).push(lane) });
        tasks.push(workers.seated(workers.admit(&org(lane), 1).unwrap(), task));
    }
    drop(hold);
    first.await.unwrap();
    for task in tasks {
        task.await.unwrap();
    }
    let order = lock(&order).clone();
    assert!(order.iter().position(|lane| *lane == "b") <= Some(1), "{order:?}");
}

#[tokio::test]
async fn a_task_that_nobody_waits_for_is_dropped() {
    let workers = workers(Limits { worker_threads: 1, ..Limits::default() });
    let (alive, watched) = (Arc::new(()), Arc::new(()));
    let weak = (Arc::downgrade(&alive), Arc::downgrade(&watched));
    let mut waiting = workers.movable(
        org("a"),
        Box::pin(async move {
            offload::to_worker().await;
            std::future::pending::<()>().await;
            drop(alive);
        }),
    );
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err());
    let (hold, held) = occupied(&workers, org("a"));
    let queued = workers.seated(workers.admit(&org("a"), 1).unwrap(), Box::pin(async move { drop(watched) }));
    drop((waiting, queued));
    assert!(weak.0.upgrade().is_none() && weak.1.upgrade().is_none());
    drop(hold);
    held.await.unwrap();
}
