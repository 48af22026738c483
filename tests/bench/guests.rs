//! A neighbour's calls alone and beside each hostile guest of `tests/guests`, in turn.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use wit_component::ComponentEncoder;

use crate::load::{closed_loop, paced};
use crate::pressure::Stand;
use crate::report::{Row, Target, median};
use crate::sample::NAME;
use crate::{Failure, print};

/// Requests of the neighbour per second, over so many connections.
const QUIET_RATE: f64 = 200.0;
const QUIET_CONNECTIONS: usize = 4;
/// Callers of the hostile guest.
const HOSTILE_CONNECTIONS: usize = 8;
/// The connector with the module, and its action.
const ID: &str = "hostile";
const ACTION: &str = "act";
/// What the module reads.
const INPUTS: &[&str] = &[
    "do",
    "url",
    "times",
    "text",
    "code",
    "message",
    "lines",
    "bytes",
    "headers",
    "body_bytes",
    "method",
    "body",
    "credential",
    "ms",
    "to",
];

/// What the guest does, by name.
fn behaviours() -> Vec<(&'static str, Value)> {
    let url = format!("https://{NAME}/v1/things/1");
    let elsewhere = "https://api.example.org/v1/things/1";
    vec![
        ("echo", json!({ "do": "echo" })),
        ("loop", json!({ "do": "loop" })),
        ("bulk_loop", json!({ "do": "bulk_loop" })),
        ("memory_bomb", json!({ "do": "memory_bomb" })),
        ("grow", json!({ "do": "grow" })),
        ("recursion", json!({ "do": "recursion" })),
        ("trap", json!({ "do": "trap" })),
        ("panic", json!({ "do": "panic" })),
        ("panic_after_send", json!({ "do": "panic_after_send", "url": url })),
        ("invalid_utf8", json!({ "do": "invalid_utf8" })),
        ("output", json!({ "do": "output", "bytes": 16 * 1024 * 1024 })),
        ("send_many", json!({ "do": "send_many", "url": url, "times": 10_000 })),
        ("send_elsewhere", json!({ "do": "send_many", "url": elsewhere, "times": 10_000 })),
        (
            "send_large",
            json!({ "do": "send_large", "url": url, "headers": 1000, "body_bytes": 8 * 1024 * 1024 }),
        ),
        ("canary", json!({ "do": "canary" })),
        ("log_flood", json!({ "do": "log_flood", "lines": 100_000, "bytes": 1000 })),
    ]
}

fn definition(digest: &str) -> Value {
    let inputs: Vec<Value> = INPUTS.iter().map(|name| json!({ "name": name, "type": "any" })).collect();
    json!({
        "connector_id": ID, "display_name": "Hostile", "auth_type": "bearer",
        "auth_schema": { "fields": [
            { "name": "token", "label": "Token", "type": "password", "required": true }] },
        "allowed_domains": [NAME], "enabled": true,
        "runtime": {
            "module": digest, "profile": "pure",
            "requests": [{ "methods": ["GET", "POST"], "url": format!("https://{NAME}/v1/things/{{id}}") }],
        },
        "actions": [{ "action_id": ACTION, "handler": "module", "effect": "read", "body_schema": inputs }],
    })
}

/// A row for each behaviour: the median of the rounds' ratios of the neighbour's 99th percentile.
pub(crate) async fn guests(module: &Path, length: Duration, rounds: u64) -> Result<Vec<Row>, Failure> {
    let core = std::fs::read(module).map_err(|error| format!("{}: {error}", module.display()))?;
    let component = ComponentEncoder::default().module(&core)?.validate(true).encode()?;
    let mut stand = Stand::start("", 100, &["quiet"]).await?;
    let digest = stand.api.module(&component).await?;
    stand.api.module_connector(&definition(&digest)).await?;
    stand.api.workspace("noisy").await?.connect(ID).await?;
    let quiet = stand.plan(&["quiet"], "quick");
    closed_loop(&quiet, QUIET_CONNECTIONS, Duration::from_secs(2)).await?;
    let mut rows = Vec::new();
    for (name, input) in behaviours() {
        print(&format!("a neighbour beside a guest that does {name}: {rounds} rounds"))?;
        let noise = stand.api.call(&stand.token, "noisy", &format!("{ID}/{ACTION}"), &input);
        let (mut alone, mut beside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let mut before = paced(&quiet, QUIET_CONNECTIONS, QUIET_RATE, length).await?;
            before.all_good()?;
            let asked = paced(&quiet, QUIET_CONNECTIONS, QUIET_RATE, length);
            let noisy = closed_loop(&noise, HOSTILE_CONNECTIONS, length);
            let (mut asked, noisy) = tokio::try_join!(asked, noisy)?;
            asked.all_good()?;
            if noisy.cut > 0 || noisy.answered() == 0 {
                return Err(format!("{name}: {} answers, {} cut", noisy.answered(), noisy.cut).into());
            }
            let (one, other) = (before.quantile(0.99), asked.quantile(0.99));
            alone.push(one);
            beside.push(other);
            ratios.push(other / one);
        }
        let target = Some(Target::AtMost(1.5));
        let mut row = Row::alone(&format!("guest_{name}_p99_us"), median(&beside), target);
        (row.baseline, row.ratio) = (Some(median(&alone)), Some(median(&ratios)));
        rows.push(row);
    }
    Ok(rows)
}
