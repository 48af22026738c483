//! The cost of a call with many connectors and credentials stored, compared with a few.

use std::time::Duration;

use crate::children::Process;
use crate::load::{Plan, closed_loop, request, send_all};
use crate::report::{Row, Target, median};
use crate::sample::definition;
use crate::setup::Api;
use crate::{Failure, print};

/// Workspaces on both sides.
const WORKSPACES: usize = 10;
/// Connectors of the small side, and those that are called on both.
const CALLED: usize = 10;

/// One side: a product with a number of connectors, each with a credential in every workspace.
struct Side {
    product: Process,
    plan: Plan,
    _data: tempfile::TempDir,
}

impl Side {
    async fn start(upstream: &Process, connectors: usize) -> Result<Self, Failure> {
        let data = tempfile::tempdir()?;
        let folder = data.path().to_str().ok_or("the temporary folder's name is not text")?.to_owned();
        let (address, ca) = (upstream.text("address")?, upstream.text("ca")?);
        let product = Process::start("product", &[("upstream", address), ("ca", ca), ("data", &folder)])?;
        let mut api = Api::of(&product).await?;
        let token = api.org().await?;
        let name = |n: usize| format!("c{n:05}");
        let uploads = (0..connectors).map(|n| {
            let body = definition(&name(n), "/v1/contacts").to_string();
            request("POST", "/admin/connector", Some(api.token()), &body)
        });
        send_all(&api.plan(uploads.collect()), 32).await?;
        let mut saves = Vec::with_capacity(connectors * WORKSPACES);
        for number in 0..WORKSPACES {
            let workspace = api.workspace(&format!("ws{number}")).await?;
            saves.extend((0..connectors).map(|n| workspace.save(&name(n))));
        }
        print(&format!("scale: {connectors} connectors, saving {} credentials", saves.len()))?;
        send_all(&api.plan(saves), 32).await?;
        // Spread over all, so that they are not adjacent in the store by chance.
        let called = (0..CALLED).map(|n| n * connectors / CALLED);
        let pairs: Vec<_> =
            called.flat_map(|n| (0..WORKSPACES).map(move |w| (format!("ws{w}"), name(n)))).collect();
        let plan = api.calls(&token, &pairs);
        Ok(Self { product, plan, _data: data })
    }

    /// CPU of a call, microseconds.
    #[allow(clippy::cast_precision_loss, reason = "counts of seconds of work")]
    async fn cpu(&self, length: Duration) -> Result<f64, Failure> {
        let before = self.product.cpu()?;
        let outcome = closed_loop(&self.plan, 32, length).await?;
        Ok(self.product.cpu()?.saturating_sub(before).as_secs_f64() * 1e6 / outcome.good() as f64)
    }
}

/// The ratio of both sides' CPU for a call, measured in turn.
pub(crate) async fn scale(connectors: usize, length: Duration, rounds: u64) -> Result<Row, Failure> {
    let upstream = Process::start("upstream", &[])?;
    let (few, many) = (Side::start(&upstream, CALLED).await?, Side::start(&upstream, connectors).await?);
    few.cpu(length).await?;
    many.cpu(length).await?;
    let (mut small, mut large, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (a, b) = (few.cpu(length).await?, many.cpu(length).await?);
        small.push(a);
        large.push(b);
        ratios.push(b / a);
    }
    let mut row = Row::alone("scale_ratio", median(&large), Some(Target::AtMost(1.1)));
    (row.baseline, row.ratio) = (Some(median(&small)), Some(median(&ratios)));
    Ok(row)
}
