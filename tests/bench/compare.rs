//! The comparison: the baseline and the product in turn, in one process tree, with one upstream.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::children::Process;
use crate::load::{Plan, closed_loop, request};
use crate::report::{self, Row, Target, median};
use crate::sample::INPUT;
use crate::setup::Api;
use crate::{Arguments, Failure, guests, later, nodes, parts, pressure, print, scale, soak, vendors};

/// Connections of each comparison, and the target for the ratio of throughput.
const CONNECTIONS: &[(usize, Option<f64>)] = &[(1, None), (32, Some(0.80)), (256, None)];

/// Calls that wait at the same time in the memory probe. Each takes two of the product's descriptors, and many machines
/// allow a process 20,000.
const WAITING_CALLS: u64 = 9_000;

/// Shortest measurement of a loaded product: a second of queues and some of steady state.
const LOADED: Duration = Duration::from_secs(5);

/// Long enough for every connection to be made and every cache to be filled.
const WARM_UP: Duration = Duration::from_secs(2);

/// Runs the groups of `--only`, or all.
pub(crate) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let out = Path::new(arguments.text("out").unwrap_or("target/bench/summary.json"));
    let seconds = arguments.number("seconds", 2)?;
    let rounds = arguments.number("rounds", 5)?;
    let mut rows = Vec::new();
    let measured = measure(arguments, Duration::from_secs(seconds), rounds, &mut rows).await;
    // Why also after a failure: the results so far took minutes.
    report::write(out, &rows, &json!({ "seconds": seconds, "rounds": rounds }))?;
    measured
}

/// The selected groups, one after the other, up to the first that fails.
async fn measure(
    arguments: &Arguments,
    length: Duration,
    rounds: u64,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let wanted = |group: &str| arguments.text("only").is_none_or(|list| list.split(',').any(|g| g == group));
    if wanted("throughput") {
        rows.extend(throughput(arguments, length, rounds).await?);
    }
    if wanted("guest") {
        rows.push(parts::guest().await?);
    }
    if wanted("ready") {
        rows.extend(parts::ready()?);
    }
    if wanted("overload") {
        rows.extend(pressure::overload(length.max(LOADED)).await?);
    }
    if wanted("neighbour") {
        rows.extend(pressure::neighbour(length.max(LOADED)).await?);
    }
    if wanted("async") {
        rows.extend(later::later(length, rounds).await?);
    }
    if wanted("vendors") {
        rows.extend(vendors::vendors(length.max(LOADED), rounds).await?);
    }
    if wanted("guests") {
        match arguments.text("module") {
            Some(module) => rows.extend(guests::guests(Path::new(module), length, rounds).await?),
            None if arguments.text("only").is_none() => print("guests: left out, there is no --module")?,
            None => return Err("guests needs --module FILE, see tests/guests/README.md".into()),
        }
    }
    if wanted("drain") {
        rows.extend(pressure::drain().await?);
    }
    if wanted("scale") {
        let connectors = usize::try_from(arguments.number("connectors", 10_000)?)?;
        rows.push(scale::scale(connectors, length, rounds).await?);
    }
    if wanted("nodes") {
        rows.extend(nodes::nodes(length, rounds).await?);
    }
    if arguments.text("only").is_some() && wanted("soak") {
        rows.extend(soak::soak(arguments.number("minutes", 20)?).await?);
    }
    if wanted("memory") {
        let calls = usize::try_from(arguments.number("calls", WAITING_CALLS)?)?;
        rows.push(parts::memory(calls).await?);
    }
    Ok(())
}

/// One side of the comparison.
struct Side {
    process: Process,
    plan: Plan,
}

/// One measurement of one side.
struct Measured {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_us: f64,
}

impl Side {
    #[allow(clippy::cast_precision_loss, reason = "counts of seconds of work")]
    async fn measure(&self, connections: usize, length: Duration) -> Result<Measured, Failure> {
        let before = self.process.cpu()?;
        let mut outcome = closed_loop(&self.plan, connections, length).await?;
        let cpu = self.process.cpu()?.saturating_sub(before);
        outcome.all_good()?;
        Ok(Measured {
            per_second: outcome.per_second(),
            p50_us: outcome.quantile(0.5),
            p99_us: outcome.quantile(0.99),
            cpu_us: cpu.as_secs_f64() * 1e6 / outcome.good() as f64,
        })
    }
}

async fn throughput(arguments: &Arguments, length: Duration, rounds: u64) -> Result<Vec<Row>, Failure> {
    let data = tempfile::tempdir()?;
    let upstream = Process::start("upstream", &[])?;
    let reach = [("upstream", upstream.text("address")?), ("ca", upstream.text("ca")?)];
    let baseline = Process::start("baseline", &reach)?;
    let data = data.path().to_str().ok_or("the temporary folder's name is not text")?;
    // Why so high: here every call is to be served, and its waiting time is measured.
    let limits = ("limits", "workspace_concurrent_calls=1000,queue_ms=10000");
    let product = Process::start("product", &[reach[0], reach[1], ("data", data), limits])?;
    let mut api = Api::of(&product).await?;
    let token = api.org().await?;
    api.connector("bench", "/v1/contacts").await?;
    api.workspace("main").await?.connect("bench").await?;
    let plan = api.calls(&token, &[("main".to_owned(), "bench".to_owned())]);
    let direct = Plan {
        address: baseline.text("address")?.parse()?,
        requests: vec![request("POST", "/call", None, INPUT)].into(),
    };
    let sides = [Side { process: baseline, plan: direct }, Side { process: product, plan }];
    let mut rows = Vec::new();
    for (connections, aim) in CONNECTIONS {
        if arguments.text("connections").is_none_or(|only| only == connections.to_string()) {
            rows.extend(by_turns(&sides, *connections, *aim, length, rounds).await?);
        }
    }
    Ok(rows)
}

async fn by_turns(
    sides: &[Side; 2],
    connections: usize,
    aim: Option<f64>,
    length: Duration,
    rounds: u64,
) -> Result<Vec<Row>, Failure> {
    print(&format!("{connections} connections: {rounds} rounds of {} s each", length.as_secs()))?;
    let [baseline, product] = sides;
    for side in sides {
        side.measure(connections, WARM_UP).await?;
    }
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        without.push(baseline.measure(connections, length).await?);
        with.push(product.measure(connections, length).await?);
    }
    let middle = |of: fn(&Measured) -> f64| {
        let one = |side: &[Measured]| median(&side.iter().map(of).collect::<Vec<_>>());
        (one(&without), one(&with))
    };
    let paired: Vec<f64> = without.iter().zip(&with).map(|(a, b)| b.per_second / a.per_second).collect();
    let row = |name: &str, (a, b): (f64, f64), ratio: f64, target: Option<Target>| Row {
        name: format!("{name}_c{connections}"),
        baseline: Some(a),
        portcullis: b,
        ratio: Some(ratio),
        target,
    };
    let (rate, p50, p99, cpu) =
        (middle(|m| m.per_second), middle(|m| m.p50_us), middle(|m| m.p99_us), middle(|m| m.cpu_us));
    let mut rows = vec![
        row("throughput", rate, median(&paired), aim.map(Target::AtLeast)),
        row("p50_us", p50, p50.1 / p50.0, None),
        row("p99_us", p99, p99.1 / p99.0, None),
        row("cpu_us", cpu, cpu.1 / cpu.0, None),
    ];
    match connections {
        1 => rows.push(Row::alone("added_p50_us_c1", p50.1 - p50.0, Some(Target::AtMost(60.0)))),
        32 => rows.push(Row::alone("added_cpu_us", cpu.1 - cpu.0, Some(Target::AtMost(20.0)))),
        _ => {}
    }
    Ok(rows)
}
