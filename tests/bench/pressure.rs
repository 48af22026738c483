//! Steadiness: how a product behaves under overload, beside a noisy neighbour, and when it is
//! asked to stop during its work.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::children::{Halves, Process};
use crate::load::{Connection, Outcome, Plan, closed_loop, paced, until_sent_away};
use crate::report::{Row, Target, median};
use crate::setup::{Api, Workspace};
use crate::{Failure, print};

/// How long the upstream of these probes delays an answer, if the product's slots and not its processors are the limit.
const THINKS_MS: u64 = 100;
/// Calls at the same time of the product whose slots are the limit: 640 calls a second.
const SLOTS: usize = 64;
/// Connections of an overload; each has one request in flight, so some of this many must be refused.
const CROWD: usize = 600;
const CROWD_ON_CPU: usize = 800;
/// Connections at the peak if the processors are the limit.
const SERVED_ON_CPU: usize = 32;
/// How often the peak and five times the peak are measured.
const OVERLOAD_ROUNDS: usize = 3;
/// Connections of the noisy tenant, and how many calls at the same time it may have.
const NOISY_CONNECTIONS: usize = 200;
const NOISY_SLOTS: u64 = 8;
/// Requests of the quiet tenant per second.
const QUIET_RATE: f64 = 100.0;
/// How often it is measured alone and beside the noisy one. The answers are merged: a 99th percentile of
/// the few hundred answers of one round depends on three of them.
const QUIET_ROUNDS: usize = 10;

/// A product with its upstream, and its tokens.
pub(crate) struct Stand {
    pub(crate) upstream: Process,
    pub(crate) product: Process,
    pub(crate) api: Api,
    pub(crate) token: String,
    _data: tempfile::TempDir,
}

impl Stand {
    /// With these limits, and a connector `quick` whose upstream answers at once and `slow` whose upstream delays.
    pub(crate) async fn start(limits: &str, thinks_ms: u64, workspaces: &[&str]) -> Result<Self, Failure> {
        Self::start_on(None, limits, thinks_ms, workspaces).await
    }

    /// The same, the product on one half of the processors and its upstream on the other.
    async fn start_on(
        halves: Option<&Halves>,
        limits: &str,
        thinks_ms: u64,
        workspaces: &[&str],
    ) -> Result<Self, Failure> {
        let data = tempfile::tempdir()?;
        let folder = data.path().to_str().ok_or("the temporary folder's name is not text")?.to_owned();
        let upstream = Process::start_on(halves.map(|h| h.others.as_str()), "upstream", &[])?;
        let (address, ca) = (upstream.text("address")?, upstream.text("ca")?);
        let arguments = [("upstream", address), ("ca", ca), ("data", &folder), ("limits", limits)];
        let product = Process::start_on(halves.map(|h| h.product.as_str()), "product", &arguments)?;
        let mut api = Api::of(&product).await?;
        let token = api.org().await?;
        api.connector("quick", "/v1/contacts").await?;
        api.connector("slow", &format!("/slow/{thinks_ms}")).await?;
        for id in workspaces {
            let mut workspace: Workspace = api.workspace(id).await?;
            workspace.connect("quick").await?;
            workspace.connect("slow").await?;
        }
        Ok(Self { upstream, product, api, token, _data: data })
    }

    /// Calls of a connector from these workspaces in turn.
    pub(crate) fn plan(&self, workspaces: &[&str], connector: &str) -> Plan {
        self.api.calls(&self.token, &pairs(workspaces, connector))
    }

    /// The same, accepted and executed later.
    pub(crate) fn later(&self, workspaces: &[&str], connector: &str) -> Plan {
        self.api.later(&self.token, &pairs(workspaces, connector))
    }

    /// How many requests the upstream got on a path.
    pub(crate) async fn received(&self, path: &str) -> Result<u64, Failure> {
        let mut connection = Connection::open(self.upstream.text("counts")?.parse()?).await?;
        let asked = crate::load::request("GET", "/", None, "");
        let (_, body) = connection.exchange(&asked).await?;
        let counts: serde_json::Value = serde_json::from_slice(body)?;
        Ok(counts.get(path).and_then(serde_json::Value::as_u64).unwrap_or_default())
    }
}

fn pairs(workspaces: &[&str], connector: &str) -> Vec<(String, String)> {
    workspaces.iter().map(|workspace| ((*workspace).to_owned(), connector.to_owned())).collect()
}

const FIVE: &[&str] = &["one", "two", "three", "four", "five"];

/// Five times its capacity: once limited by its slots, once by its processors. If there are two processors, load and
/// upstream have one to themselves: the product is measured, and not which of the three
/// gets less processor time.
pub(crate) async fn overload(length: Duration) -> Result<Vec<Row>, Failure> {
    let halves = Halves::of_machine();
    let move_self = |apart| halves.as_ref().map_or(Ok(()), |halves| halves.move_self(apart));
    move_self(true)?;
    let rows = overload_on(halves.as_ref(), length).await;
    move_self(false)?;
    rows
}

async fn overload_on(halves: Option<&Halves>, length: Duration) -> Result<Vec<Row>, Failure> {
    let limits = format!("concurrent_calls={SLOTS},workspace_concurrent_calls={SLOTS}");
    let stand = Stand::start_on(halves, &limits, THINKS_MS, FIVE).await?;
    let slots = Limit { name: "slots", connector: "slow", served: SLOTS, crowd: Crowd::AskFiveTimes(CROWD) };
    let mut rows = slots.crowd(&stand, length).await?;
    drop(stand);
    let stand = Stand::start_on(halves, "concurrent_calls=1000", THINKS_MS, FIVE).await?;
    let callers = Limit { name: "callers", crowd: Crowd::AskAgain(5 * SERVED_ON_CPU), ..ON_CPU };
    rows.extend(callers.crowd(&stand, length).await?);
    rows.extend(ON_CPU.crowd(&stand, length).await?);
    drop(stand);
    let thinks_ms = 2000 * length.as_secs();
    let stand = Stand::start_on(halves, "concurrent_calls=1", thinks_ms, &["one", "two"]).await?;
    rows.push(refusal(&stand, length).await?);
    Ok(rows)
}

/// CPU of one refusal, while the only slot is taken.
#[allow(clippy::cast_precision_loss, reason = "counts of seconds of work")]
async fn refusal(stand: &Stand, length: Duration) -> Result<Row, Failure> {
    print("what a refusal costs")?;
    let (takes, asks) = (stand.plan(&["one"], "slow"), stand.plan(&["two"], "quick"));
    // Why a loop: it is refused as long as the others are served.
    let taken = tokio::spawn(async move { closed_loop(&takes, 1, 10 * length).await });
    while !closed_loop(&asks, 1, Duration::ZERO).await?.statuses.contains_key(&503) {}
    let before = stand.product.cpu()?;
    let outcome = closed_loop(&asks, 32, length).await?;
    let cpu = stand.product.cpu()?.saturating_sub(before);
    taken.abort();
    let count = outcome.answered();
    if outcome.statuses.get(&503) != Some(&count) {
        return Err(format!("not every call was refused: {:?}", outcome.statuses).into());
    }
    Ok(Row::alone("overload_refusal_cpu_us", cpu.as_secs_f64() * 1e6 / count as f64, None))
}

/// What limits a product's capacity.
struct Limit {
    name: &'static str,
    connector: &'static str,
    /// Connections at the peak.
    served: usize,
    crowd: Crowd,
}

/// How five times the peak is generated.
#[derive(Clone, Copy)]
enum Crowd {
    /// Five times the requests per second, from this number of connections.
    AskFiveTimes(usize),
    /// Five times the connections of the peak; each sends the next request after its answer.
    AskAgain(usize),
}

impl Crowd {
    async fn ask(self, plan: &Plan, peak: f64, length: Duration) -> Result<Outcome, Failure> {
        match self {
            Self::AskFiveTimes(connections) => paced(plan, connections, 5.0 * peak, length).await,
            Self::AskAgain(connections) => closed_loop(plan, connections, length).await,
        }
    }
}

/// The processors are the limit.
const ON_CPU: Limit = Limit {
    name: "cpu",
    connector: "quick",
    served: SERVED_ON_CPU,
    crowd: Crowd::AskFiveTimes(CROWD_ON_CPU),
};

impl Limit {
    /// The peak with as many connections as are served, and five times the peak from many more, in turn.
    #[allow(clippy::cast_precision_loss, reason = "sizes of gigabytes")]
    async fn crowd(&self, stand: &Stand, length: Duration) -> Result<Vec<Row>, Failure> {
        let plan = stand.plan(FIVE, self.connector);
        let peak = async || Ok::<_, Failure>(closed_loop(&plan, self.served, length).await?.per_second());
        closed_loop(&plan, self.served, Duration::from_secs(2)).await?;
        let before = stand.product.memory_kib("VmRSS")?;
        let mut all = Outcome::default();
        let (mut peaks, mut good, mut asked, mut ratios) = (vec![peak().await?], vec![], vec![], vec![]);
        for _ in 0..OVERLOAD_ROUNDS {
            let earlier = peaks.last().copied().unwrap_or_default();
            print(&format!("overload, {}: peak {earlier:.0}/s", self.name))?;
            let outcome = self.crowd.ask(&plan, earlier, length).await?;
            if outcome.cut > 0 || outcome.statuses.keys().any(|s| *s >= 300 && *s != 503 && *s != 429) {
                return Err(
                    format!("cut or wrong answers: {:?}, {} cut", outcome.statuses, outcome.cut).into()
                );
            }
            // Why also after it: the machine is shared, and its speed may change meanwhile.
            let later = peak().await?;
            ratios.push(outcome.per_second() * 2.0 / (earlier + later));
            good.push(outcome.per_second());
            asked.push(outcome.asked_per_second());
            peaks.push(later);
            all.add(outcome);
        }
        let after = stand.product.memory_kib("VmHWM")?;
        let name = |what: &str| format!("overload_{}_{what}", self.name);
        let mut goodput = Row::alone(&name("goodput"), median(&good), Some(Target::AtLeast(0.9)));
        (goodput.baseline, goodput.ratio) = (Some(median(&peaks)), Some(median(&ratios)));
        let refused = all.refused_quantile(0.99);
        Ok(vec![
            goodput,
            Row::alone(&name("asked"), median(&asked), None),
            Row::alone(&name("refused_p99_us"), refused, Some(Target::AtMost(10_000.0))),
            Row::alone(&name("served_p99_us"), all.quantile(0.99), None),
            Row::alone(&name("memory_mib"), after.saturating_sub(before) as f64 / 1024.0, None),
        ])
    }
}

/// A quiet tenant's 99th percentile alone, and beside one that requests ten times its limit.
pub(crate) async fn neighbour(length: Duration) -> Result<Vec<Row>, Failure> {
    let limits = format!("workspace_concurrent_calls={NOISY_SLOTS}");
    let stand = Stand::start(&limits, 20, &["quiet", "noisy"]).await?;
    let (quiet, noisy) = (stand.plan(&["quiet"], "quick"), stand.plan(&["noisy"], "slow"));
    closed_loop(&quiet, 1, Duration::from_secs(2)).await?;
    let may = closed_loop(&noisy, usize::try_from(NOISY_SLOTS)?, Duration::from_secs(2)).await?.per_second();
    print(&format!("a neighbour that may {may:.0}/s and asks {:.0}/s", 10.0 * may))?;
    let (mut alone, mut beside) = (Outcome::default(), Outcome::default());
    for _ in 0..QUIET_ROUNDS {
        alone.add(paced(&quiet, 1, QUIET_RATE, length).await?);
        let noise = paced(&noisy, NOISY_CONNECTIONS, 10.0 * may, length);
        let (asked, noise) = tokio::try_join!(paced(&quiet, 1, QUIET_RATE, length), noise)?;
        asked.all_good()?;
        if noise.cut > 0 {
            return Err(format!("{} of the noisy tenant's calls were cut", noise.cut).into());
        }
        beside.add(asked);
    }
    let (alone, beside) = (alone.quantile(0.99), beside.quantile(0.99));
    let mut row = Row::alone("neighbour_p99_us", beside, Some(Target::AtMost(1.5)));
    (row.baseline, row.ratio) = (Some(alone), Some(beside / alone));
    Ok(vec![row])
}

/// SIGTERM during the load: how many answers were interrupted, and how long the drain took.
#[allow(clippy::cast_precision_loss, reason = "small counts")]
pub(crate) async fn drain() -> Result<Vec<Row>, Failure> {
    print("a stop under load")?;
    let stand = Stand::start("concurrent_calls=1000", 50, FIVE).await?;
    let plan = stand.plan(FIVE, "slow");
    closed_loop(&plan, 64, Duration::from_millis(500)).await?;
    let load = tokio::spawn(async move { until_sent_away(&plan, 64, Duration::from_secs(30)).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut probe = Connection::open(stand.product.text("address")?.parse()?).await?;
    let ready = crate::load::request("GET", "/readyz", None, "");
    if probe.ask(&ready).await? != 200 {
        return Err("it was not ready before".into());
    }
    let asked = Instant::now();
    let told = Command::new("kill").args(["-TERM", &stand.product.id().to_string()]).status()?;
    if !told.success() {
        return Err("SIGTERM could not be sent".into());
    }
    // It takes new connections a moment longer, to announce on them that it is stopping.
    let mut said = 200;
    while said == 200 && asked.elapsed() < Duration::from_secs(1) {
        said = probe.ask(&ready).await?;
    }
    let outcome = load.await??;
    let took = asked.elapsed();
    let wrong: u64 = outcome.statuses.iter().filter(|(s, _)| **s >= 300).map(|(_, n)| n).sum();
    Ok(vec![
        Row::alone("drain_cut", (outcome.cut + wrong) as f64, Some(Target::AtMost(0.0))),
        Row::alone("drain_readyz", f64::from(said), Some(Target::AtLeast(503.0))),
        Row::alone("drain_ms", took.as_secs_f64() * 1e3, Some(Target::AtMost(30_000.0))),
    ])
}
