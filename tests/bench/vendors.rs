//! Vendors that are down or slow: how many requests the first gets, and what the second does to others.

use std::time::{Duration, Instant};

use crate::load::{Outcome, closed_loop, paced};
use crate::pressure::Stand;
use crate::report::{Row, Target};
use crate::{Failure, print};

/// Requests of the quiet tenant per second.
const QUIET_RATE: f64 = 100.0;
/// How long the slow vendor takes, and how many callers wait for it at once.
const SLOW_MS: u64 = 2000;
const SLOW_CONNECTIONS: usize = 100;
/// Connections on which runs are accepted.
const ACCEPTING: usize = 8;
/// How long runs are accepted whose vendor is down for half of them, and how long they are tried after that.
const ACCEPTED_FOR: Duration = Duration::from_secs(5);
const TRIED_FOR: Duration = Duration::from_secs(15);
/// Where the vendors are.
const WELL: &str = "/v1/contacts";
const DEAD: &str = "/status/503";
/// Time for the well half to be executed.
const LONGEST: Duration = Duration::from_secs(300);

pub(crate) async fn vendors(length: Duration, rounds: u64) -> Result<Vec<Row>, Failure> {
    Ok(vec![dead().await?, slow(length, rounds).await?])
}

/// Accepted runs of which half go to a vendor that is down: all requests, to those that were useful.
#[allow(clippy::cast_precision_loss, reason = "counts of seconds of work")]
async fn dead() -> Result<Row, Failure> {
    print("a vendor that is down for half of the accepted runs")?;
    // Why waits that short: many tries would fit into the time, if there were not the budget.
    let limits = "workspace_open_jobs=1000000,job_retry_base_ms=100,job_retry_cap_ms=1000,workspace_jobs=32";
    let mut stand = Stand::start(limits, 100, &[]).await?;
    stand.api.keyed_connector("dead", DEAD).await?;
    let mut workspace = stand.api.workspace("main").await?;
    workspace.connect("quick").await?;
    workspace.connect("dead").await?;
    let pairs = ["quick", "dead"].map(|connector| ("main".to_owned(), connector.to_owned()));
    let plan = stand.api.later(&stand.token, &pairs);
    let accepted = closed_loop(&plan, ACCEPTING, ACCEPTED_FOR).await?;
    accepted.all_good()?;
    let started = Instant::now();
    let half = accepted.good() / 2;
    // Why not the other half, too: a circuit breaker keeps most of its requests back.
    // Each connection's part begins with the first or the second, so the halves may differ by as many.
    while stand.received(WELL).await? + ACCEPTING as u64 <= half {
        if started.elapsed() > LONGEST {
            return Err("what was accepted is not executed".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(TRIED_FOR).await;
    let useful = stand.received(WELL).await?;
    let requests = useful + stand.received(DEAD).await?;
    let mut row = Row::alone("vendor_dead_requests", requests as f64, Some(Target::AtMost(1.2)));
    row.baseline = Some(useful as f64);
    row.ratio = Some(requests as f64 / useful as f64);
    Ok(row)
}

/// A tenant's 99th percentile alone, and while another's calls and accepted runs go to a vendor that is slow.
async fn slow(length: Duration, rounds: u64) -> Result<Row, Failure> {
    print(&format!("a neighbour of a vendor that takes {SLOW_MS} ms: {rounds} rounds"))?;
    let stand = Stand::start("", SLOW_MS, &["quiet", "slow"]).await?;
    let quiet = stand.plan(&["quiet"], "quick");
    let (waiting, accepted) = (stand.plan(&["slow"], "slow"), stand.later(&["slow"], "slow"));
    closed_loop(&quiet, 1, Duration::from_secs(2)).await?;
    let (mut alone, mut beside) = (Outcome::default(), Outcome::default());
    for _ in 0..rounds {
        alone.add(paced(&quiet, 1, QUIET_RATE, length).await?);
        let calls = closed_loop(&waiting, SLOW_CONNECTIONS, length);
        let runs = paced(&accepted, 1, QUIET_RATE / 5.0, length);
        let asked = paced(&quiet, 1, QUIET_RATE, length);
        let (asked, _, _) = tokio::try_join!(asked, calls, runs)?;
        asked.all_good()?;
        beside.add(asked);
    }
    alone.all_good()?;
    let (alone, beside) = (alone.quantile(0.99), beside.quantile(0.99));
    let mut row = Row::alone("vendor_slow_p99_us", beside, Some(Target::AtMost(1.5)));
    (row.baseline, row.ratio) = (Some(alone), Some(beside / alone));
    Ok(row)
}
