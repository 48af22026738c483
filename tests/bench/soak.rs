//! Half of its capacity for a long time: whether memory stays constant, and whether anything fails.

use std::time::Duration;

use crate::load::{Outcome, closed_loop, paced};
use crate::pressure::Stand;
use crate::report::{Row, Target};
use crate::{Failure, print};

const WORKSPACES: &[&str] = &["one", "two", "three", "four"];
/// Time between two measurements of the memory.
const LOOK: Duration = Duration::from_secs(60);

/// Runs for this number of minutes.
#[allow(clippy::cast_precision_loss, reason = "sizes of gigabytes")]
pub(crate) async fn soak(minutes: u64) -> Result<Vec<Row>, Failure> {
    let stand = Stand::start("concurrent_calls=1000", 100, WORKSPACES).await?;
    let plan = stand.plan(WORKSPACES, "quick");
    closed_loop(&plan, 32, Duration::from_secs(2)).await?;
    let peak = closed_loop(&plan, 32, Duration::from_secs(10)).await?.per_second();
    let rate = peak / 2.0;
    print(&format!("soak: {rate:.0} calls a second for {minutes} minutes"))?;
    let (mut resident, mut failed, mut total) = (Vec::new(), 0, 0);
    for minute in 1..=minutes {
        let outcome: Outcome = paced(&plan, 32, rate, LOOK).await?;
        failed += outcome.cut + outcome.answered() - outcome.good();
        total += outcome.good();
        let now = stand.product.memory_kib("VmRSS")? as f64 / 1024.0;
        resident.push(now);
        print(&format!("  minute {minute}: {now:.0} MiB, {total} calls, {failed} failed"))?;
    }
    // The first quarter fills caches and pools.
    let settled = resident.get(resident.len() / 4).copied().unwrap_or_default();
    let end = resident.last().copied().unwrap_or_default();
    let mut memory = Row::alone("soak_memory_mib", end, Some(Target::AtMost(1.05)));
    (memory.baseline, memory.ratio) = (Some(settled), Some(end / settled));
    Ok(vec![
        memory,
        Row::alone("soak_calls", total as f64, None),
        Row::alone("soak_failed", failed as f64, Some(Target::AtMost(0.0))),
    ])
}
