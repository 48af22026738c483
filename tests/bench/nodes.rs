//! A database beside the directory of one machine, and three nodes beside one: throughput, and CPU of a call.

use std::time::Duration;

use portcullis_store::MasterKey;
use portcullis_store_conformance::cluster::Cluster;
use portcullis_store_postgres::{PostgresOptions, migrate};

use crate::children::Process;
use crate::load::{Outcome, Plan, closed_loop};
use crate::report::{Row, median};
use crate::setup::Api;
use crate::{Failure, print};

const CONNECTOR: &str = "bench";
const CONNECTIONS: usize = 32;

/// Products that share what they store.
struct Side {
    products: Vec<Process>,
    plans: Vec<Plan>,
    _data: Vec<tempfile::TempDir>,
}

impl Side {
    async fn start(upstream: &Process, database: Option<&str>, nodes: usize) -> Result<Self, Failure> {
        let key = MasterKey::generate()?.to_text().to_string();
        let (address, ca) = (upstream.text("address")?, upstream.text("ca")?);
        let (mut products, mut data) = (Vec::new(), Vec::new());
        for node in 0..nodes {
            let own = tempfile::tempdir()?;
            let folder = own.path().to_str().ok_or("the temporary folder's name is not text")?.to_owned();
            let name = format!("node-{node}");
            let mut given =
                vec![("upstream", address), ("ca", ca), ("data", &*folder), ("key", &*key), ("node", &*name)];
            given.extend(database.map(|url| ("database", url)));
            products.push(Process::start("product", &given)?);
            data.push(own);
        }
        let first = products.first().ok_or("a side has at least one node")?;
        let mut api = Api::of(first).await?;
        let token = api.org().await?;
        api.connector(CONNECTOR, "/v1/contacts").await?;
        api.workspace("main").await?.connect(CONNECTOR).await?;
        let calls = api.calls(&token, &[("main".to_owned(), CONNECTOR.to_owned())]);
        let plan = |product: &Process| -> Result<Plan, Failure> {
            Ok(Plan { address: product.text("address")?.parse()?, requests: calls.requests.clone() })
        };
        let plans = products.iter().map(plan).collect::<Result<_, _>>()?;
        Ok(Self { products, plans, _data: data })
    }

    /// Calls per second, and the CPU of a call over all nodes, microseconds.
    #[allow(clippy::cast_precision_loss, reason = "counts of seconds of work")]
    async fn measure(&self, length: Duration) -> Result<(f64, f64), Failure> {
        let cpu = || self.products.iter().map(Process::cpu).sum::<Result<Duration, Failure>>();
        let before = cpu()?;
        let each = CONNECTIONS / self.plans.len();
        let loops: Vec<_> = self
            .plans
            .iter()
            .map(|plan| {
                let plan = Plan { address: plan.address, requests: plan.requests.clone() };
                tokio::spawn(async move { closed_loop(&plan, each, length).await })
            })
            .collect();
        let (mut calls, mut rate) = (0, 0.0);
        for outcome in loops {
            let outcome: Outcome = outcome.await??;
            outcome.all_good()?;
            calls += outcome.good();
            rate += outcome.per_second();
        }
        Ok((rate, cpu()?.saturating_sub(before).as_secs_f64() * 1e6 / calls as f64))
    }
}

/// Rows of the comparison; none where there is no PostgreSQL.
pub(crate) async fn nodes(length: Duration, rounds: u64) -> Result<Vec<Row>, Failure> {
    let Some(cluster) = Cluster::start(&[]) else {
        print("nodes: left out, because there is no PostgreSQL")?;
        return Ok(Vec::new());
    };
    let (one, several) = (cluster.database(), cluster.database());
    for url in [&one, &several] {
        migrate(&PostgresOptions::new(url.clone()), None).await?;
    }
    let upstream = Process::start("upstream", &[])?;
    let sides = [
        Side::start(&upstream, None, 1).await?,
        Side::start(&upstream, Some(&one), 1).await?,
        Side::start(&upstream, Some(&several), 3).await?,
    ];
    let mut figures: [Vec<(f64, f64)>; 3] = Default::default();
    for side in &sides {
        side.measure(length).await?;
    }
    for _ in 0..rounds {
        for (side, figures) in sides.iter().zip(&mut figures) {
            figures.push(side.measure(length).await?);
        }
    }
    let [directory, database, three] = figures;
    let rates = |all: &[(f64, f64)]| all.iter().map(|figure| figure.0).collect::<Vec<_>>();
    let cpus = |all: &[(f64, f64)]| all.iter().map(|figure| figure.1).collect::<Vec<_>>();
    Ok(vec![
        beside("database_throughput", &rates(&directory), &rates(&database)),
        beside("database_cpu_us", &cpus(&directory), &cpus(&database)),
        beside("three_nodes_throughput", &rates(&database), &rates(&three)),
        beside("three_nodes_cpu_us", &cpus(&database), &cpus(&three)),
    ])
}

/// A figure beside another, measured in turn.
fn beside(name: &str, base: &[f64], own: &[f64]) -> Row {
    let ratios: Vec<f64> = base.iter().zip(own).map(|(base, own)| own / base).collect();
    let mut row = Row::alone(name, median(own), None);
    (row.baseline, row.ratio) = (Some(median(base)), Some(median(&ratios)));
    row
}
