//! A crowd of calls on the async runtime's threads.

use std::sync::Arc;

use super::scheduler;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_calls_on_few_turns_all_end() {
    let scheduler = Arc::new(scheduler(2, 10_000, 10_000, 60_000));
    let calls = (0..2000).map(|n| {
        let permit = scheduler.admit(&format!("ws{}", n % 7), usize::MAX).unwrap();
        tokio::spawn(permit.run(Box::pin(async move {
            for _ in 0..n % 5 {
                tokio::task::yield_now().await;
            }
            n
        })))
    });
    let calls: Vec<_> = calls.collect();
    for (n, call) in calls.into_iter().enumerate() {
        // Every third is given up, wherever it is.
        if n % 3 == 0 {
            call.abort();
        } else {
            assert_eq!(call.await.unwrap(), Ok(n));
        }
    }
    // Those given up go when the runtime gets to them.
    while scheduler.calls() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(scheduler.0.lock().free, 2);
}
