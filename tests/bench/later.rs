//! Accepted runs beside calls that are waited for: how many a second are accepted, and how many executed.

use std::time::{Duration, Instant};

use crate::load::closed_loop;
use crate::pressure::Stand;
use crate::report::{Row, median};
use crate::{Failure, print};

/// More workspaces than it takes for all workers.
const WORKSPACES: &[&str] = &["one", "two", "three", "four", "five"];
const CONNECTIONS: usize = 32;
/// The path of the connector `quick`.
const PATH: &str = "/v1/contacts";
/// Time for what was accepted to be executed.
const LONGEST: Duration = Duration::from_secs(300);

/// What one round came to.
struct Round {
    waited_for: f64,
    accepted: f64,
    executed: f64,
    waited_for_cpu_us: f64,
    cpu_us: f64,
}

/// Alternating rounds of calls and of accepted runs over the same connections.
pub(crate) async fn later(length: Duration, rounds: u64) -> Result<Vec<Row>, Failure> {
    print(&format!(
        "accepted runs: {rounds} rounds of {} s each, then until all are executed",
        length.as_secs()
    ))?;
    // Why so high: what is accepted at once must not be refused while it waits for the workers.
    let limits = "workspace_concurrent_calls=1000,queue_ms=10000,workspace_open_jobs=1000000";
    let stand = Stand::start(limits, 100, WORKSPACES).await?;
    closed_loop(&stand.plan(WORKSPACES, "quick"), CONNECTIONS, Duration::from_secs(2)).await?;
    let mut all = Vec::new();
    for _ in 0..rounds {
        all.push(round(&stand, length).await?);
    }
    let of = |member: fn(&Round) -> f64| median(&all.iter().map(member).collect::<Vec<_>>());
    let row = |name: &str, baseline: f64, value: f64| {
        let mut row = Row::alone(name, value, None);
        (row.baseline, row.ratio) = (Some(baseline), Some(value / baseline));
        row
    };
    let waited_for = of(|round| round.waited_for);
    Ok(vec![
        row("async_accepted", waited_for, of(|round| round.accepted)),
        row("async_executed", waited_for, of(|round| round.executed)),
        row("async_cpu_us", of(|round| round.waited_for_cpu_us), of(|round| round.cpu_us)),
    ])
}

#[allow(clippy::cast_precision_loss, reason = "counts of seconds of work")]
async fn round(stand: &Stand, length: Duration) -> Result<Round, Failure> {
    let before = stand.product.cpu()?;
    let calls = closed_loop(&stand.plan(WORKSPACES, "quick"), CONNECTIONS, length).await?;
    calls.all_good()?;
    let between = stand.product.cpu()?;
    let begun = stand.received(PATH).await?;
    let started = Instant::now();
    let accepted = closed_loop(&stand.later(WORKSPACES, "quick"), CONNECTIONS, length).await?;
    accepted.all_good()?;
    while stand.received(PATH).await? < begun + accepted.good() {
        if started.elapsed() > LONGEST {
            return Err("what was accepted is not executed".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = started.elapsed();
    let each = |cpu: Duration, count: u64| cpu.as_secs_f64() * 1e6 / count as f64;
    Ok(Round {
        waited_for: calls.per_second(),
        accepted: accepted.per_second(),
        executed: accepted.good() as f64 / took.as_secs_f64(),
        waited_for_cpu_us: each(between.saturating_sub(before), calls.good()),
        cpu_us: each(stand.product.cpu()?.saturating_sub(between), accepted.good()),
    })
}
