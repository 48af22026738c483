//! Single figures: a guest's call without a network, the start of the product, and the memory of a waiting call.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::limits::Limits;
use portcullis_sandbox::Sandbox;

use crate::load::{closed_loop, one_by_one};
use crate::pressure::Stand;
use crate::report::{Row, Target, median};
use crate::{Failure, print, sample};

/// Calls of the guest that are measured, after the same number for warming up.
const GUEST_CALLS: usize = 20_000;
/// Starts of the product that are measured.
const STARTS: usize = 5;
/// How long the upstream holds each answer of the memory probe.
const HELD_MS: u64 = 28_000;
/// Time in which the calls of the memory probe start: all wait before the first is answered.
const COMING_MS: u64 = 20_000;

/// A new instance of the HTTP handler and its call, in microseconds.
pub(crate) async fn guest() -> Result<Row, Failure> {
    print(&format!("a guest's call: {GUEST_CALLS} times"))?;
    let connector = sample::connector()?;
    let sandbox = Sandbox::new(Arc::new(Limits::default()))?;
    let handler = sandbox.load(portcullis_connectors::HTTP_HANDLER)?;
    let invocation = sample::invocation(&connector).ok_or("the benchmark's definition has no action")?;
    let mut times = Vec::with_capacity(GUEST_CALLS);
    for turn in 0..2 * GUEST_CALLS {
        let started = Instant::now();
        let end = sandbox.call(&handler, invocation.clone(), Arc::new(sample::Canned)).await;
        if turn >= GUEST_CALLS {
            times.push(started.elapsed().as_secs_f64() * 1e6);
        }
        if !matches!(end.result, Ok(Ok(_))) {
            return Err(format!("the guest's call failed: {:?}", end.result).into());
        }
    }
    Ok(Row::alone("instantiate_call_us", median(&times), Some(Target::AtMost(10.0))))
}

/// From the start of the product's own binary to its listening, in milliseconds: without compiled code from an
/// earlier start, and with it.
pub(crate) fn ready() -> Result<Vec<Row>, Failure> {
    print(&format!("the product's start: {STARTS} times"))?;
    let binary = std::env::current_exe()?.with_file_name("portcullis");
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let made = Command::new(&binary).arg("init").arg("--data-dir").arg(&data).output()?;
    if !made.status.success() {
        return Err(format!("portcullis init: {}", String::from_utf8_lossy(&made.stderr)).into());
    }
    let compiled = data.join("compiled");
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        if compiled.exists() {
            std::fs::remove_dir_all(&compiled)?;
        }
        cold.push(start(&binary, &data)?);
        warm.push(start(&binary, &data)?);
    }
    Ok(vec![
        Row::alone("ready_ms_cold", median(&cold), Some(Target::AtMost(600.0))),
        Row::alone("ready_ms_warm", median(&warm), Some(Target::AtMost(50.0))),
    ])
}

/// One start, milliseconds.
fn start(binary: &Path, data: &Path) -> Result<f64, Failure> {
    let started = Instant::now();
    let mut serving = Command::new(binary)
        .args(["serve", "--listen", "127.0.0.1:0", "--log", "error", "--data-dir"])
        .arg(data)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(serving.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let took = started.elapsed().as_secs_f64() * 1e3;
    serving.kill()?;
    serving.wait()?;
    if !line.contains("listening") {
        return Err(format!("portcullis serve: {line}").into());
    }
    Ok(took)
}

/// The memory of a call while its upstream delays the answer, in KiB.
#[allow(clippy::cast_precision_loss, reason = "sizes of gigabytes")]
pub(crate) async fn memory(calls: usize) -> Result<Row, Failure> {
    print(&format!("memory: {calls} calls that wait"))?;
    let limits = format!("concurrent_calls={0},workspace_concurrent_calls={0}", calls + 100);
    let stand = Stand::start(&limits, HELD_MS, &["main"]).await?;
    let (product, plan) = (&stand.product, |connector| stand.plan(&["main"], connector));
    closed_loop(&plan("quick"), 1, Duration::from_millis(200)).await?;
    let before = product.memory_kib("VmRSS")?;
    // Why not all at once: each makes a connection to the upstream, and in such a burst most are refused.
    let rate = calls as f64 * 1e3 / COMING_MS as f64;
    let outcome = one_by_one(&plan("slow"), calls, rate).await?;
    let peak = product.memory_kib("VmHWM")?;
    outcome.all_good()?;
    let each = (peak - before) as f64 / calls as f64;
    Ok(Row::alone("memory_per_call_kib", each, Some(Target::AtMost(300.0))))
}
