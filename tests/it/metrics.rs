//! What operators see: `/metrics`, the line of each call, failed logins and changes.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use portcullis_engine::metrics::TABLE;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Answer, Client, Script, Stage, Tenant, World, salesforce};

mod lines;
mod logins;
mod sums;

const KEY: &str = "sk-live-0123456789abcdef";

/// A scraped text: its samples by series, and the types of its families.
struct Scraped {
    samples: BTreeMap<String, f64>,
    types: BTreeMap<String, String>,
}

impl Scraped {
    fn of(text: &str) -> Self {
        let (mut samples, mut types) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(types.insert(name.to_owned(), kind.to_owned()), None, "{name} is there twice");
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let known = samples.insert(series.to_owned(), value.parse().expect(line));
                assert_eq!(known, None, "{series} is there twice");
            }
        }
        Self { samples, types }
    }

    /// The sum over the series of a name that have these labels.
    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of_name = self.samples.iter().filter(|(series, _)| series.split('{').next() == Some(name));
        of_name
            .filter(|(series, _)| labels.iter().all(|label| series.contains(label)))
            .map(|(_, value)| value)
            .sum()
    }
}

async fn scrape(client: &Client) -> Scraped {
    Scraped::of(&client.get("/metrics").await.is(200).text)
}

#[tokio::test]
async fn metrics_take_a_platform_token_and_no_other() {
    let (world, acme) = World::salesforce().await;
    let answer = world.platform.get("/metrics").await.is(200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for other in [&acme.org, &acme.workspace, &acme.run] {
        other.get("/metrics").await.problem(Code::RoleNotAllowed);
    }
    world.platform.anonymous().get("/metrics").await.problem(Code::Unauthorized);
    world.platform.get("/metrics?x=1").await.problem(Code::UnknownParameter);
    let open = [("accept", "application/openmetrics-text; version=1.0.0")];
    let answer = world.platform.send("GET", "/metrics", &open, Vec::new()).await.is(200);
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(answer.text.ends_with("# EOF\n"), "{}", answer.text);
    assert!(answer.text.contains("# TYPE portcullis_logins_failed counter"), "{}", answer.text);
}

#[tokio::test]
async fn the_listener_of_its_own_answers_without_a_token_and_serves_nothing_else() {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    acme.create_contact().await.is(200);
    let listener = portcullis_api::serve::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(portcullis_api::serve::serve_metrics(std::sync::Arc::clone(&world.api), listener));
    let anyone = Client::new(address);
    let scraped = scrape(&anyone).await;
    assert_eq!(scraped.sum("portcullis_calls_total", &["outcome=\"succeeded\""]), 1.0);
    anyone.post("/metrics", &json!({})).await.problem(Code::MethodNotAllowed);
    // Why by hand: the client compares answers with the API's document, and this is not the API.
    for path in ["/", "/admin/org", "/healthz", "/metrics/"] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let token = world.platform.token().unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
}

/// A world in which every metric has a sample: calls with each end, and a background count.
async fn every_metric() -> (World, Tenant, Scraped) {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    acme.create_contact().await.is(200);
    let scraped = scrape(&world.platform).await;
    (world, acme, scraped)
}

#[tokio::test]
async fn the_text_has_the_metrics_of_the_table_and_no_other() {
    let (_world, _acme, scraped) = every_metric().await;
    let listed: BTreeMap<String, String> =
        TABLE.iter().map(|row| (row.name.to_owned(), row.kind.to_owned())).collect();
    assert_eq!(scraped.types, listed);
    for series in scraped.samples.keys() {
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let parts = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        let row = TABLE.iter().find(|row| row.name == name || Some(row.name) == parts).expect(series);
        let labels: BTreeSet<&str> = labels
            .trim_end_matches('}')
            .split(',')
            .filter_map(|label| label.split_once('=').map(|(label, _)| label))
            .filter(|label| *label != "le")
            .collect();
        let wanted: BTreeSet<&str> = row.labels.split(',').filter(|label| !label.is_empty()).collect();
        assert_eq!(labels, wanted, "{series}");
    }
}

#[tokio::test]
async fn figures_are_plausible() {
    let (_world, _acme, scraped) = every_metric().await;
    let one = |series: &str| scraped.samples.get(series).copied().unwrap_or(f64::NAN);
    for well in ["runs_well", "ledger_well", "ledger_intact", "store_well", "store_anchored"] {
        assert_eq!(one(&format!("portcullis_{well}")), 1.0, "{well}");
    }
    assert_eq!(one("portcullis_connections{state=\"connected\"}"), 1.0);
    assert_eq!(one("portcullis_connections{state=\"needs_attention\"}"), 0.0);
    assert_eq!(one("portcullis_jobs{state=\"queued\"}"), 0.0);
    assert_eq!(one("portcullis_active_calls"), 0.0);
    assert!(
        one("portcullis_disk_bytes{kind=\"ledger\"}") > 0.0
            && one("portcullis_disk_bytes{kind=\"runs\"}") > 0.0
    );
    assert!(one("process_resident_memory_bytes") > 1e6 && one("process_open_fds") > 3.0);
    assert!(one("process_cpu_seconds_total") > 0.0 && one("process_start_time_seconds") > 1e9);
    for phase in ["queue", "guest", "dns", "connect", "tls", "upstream", "total"] {
        let count = one(&format!("portcullis_call_seconds_count{{phase=\"{phase}\"}}"));
        assert_eq!(count, 1.0, "{phase}: the first call connects");
    }
}

#[tokio::test]
async fn no_name_of_a_tenant_and_no_secret_is_in_the_text() {
    let world = World::start().await;
    let mut definition = salesforce();
    definition["connector_id"] = json!("crm");
    world.platform.post("/admin/connector", &definition).await.is(201);
    let tenant = world.tenant("zanzibar-org", "quito-workspace").await;
    tenant.connect("crm", json!({ "api_key": KEY })).await;
    tenant.call("crm", "create-contact", json!({ "Email": "ada@example.org" })).await.is(200);
    let answer = world.platform.get("/metrics").await.is(200);
    assert!(answer.text.contains("connector=\"crm\""));
    let run_token = tenant.run.token().unwrap();
    for hidden in ["zanzibar", "quito", KEY, "ada@example", "salesforce.com", &run_token, "pc_"] {
        assert!(!answer.text.contains(hidden), "{hidden}");
    }
}

#[tokio::test]
async fn connectors_beyond_the_limit_are_one() {
    let limits = Limits { metrics_connectors: 3, concurrent_calls: 32, ..Limits::default() };
    let world = Stage { limits, ..Stage::default() }.start().await;
    let tenant = world.tenant("acme", "main").await;
    for number in 0..8 {
        let mut definition = salesforce();
        definition["connector_id"] = json!(format!("crm-{number}"));
        world.platform.post("/admin/connector", &definition).await.is(201);
        // Skipped: there is no credential.
        for _ in 0..2 {
            let id = format!("crm-{number}");
            tenant.call(&id, "create-contact", json!({ "Email": "ada@example.org" })).await.is(200);
        }
    }
    tenant.call("no-such-connector", "a", json!({})).await.problem(Code::ConnectorNotFound);
    let scraped = scrape(&world.platform).await;
    let names: BTreeSet<&str> = scraped
        .samples
        .keys()
        .filter_map(|series| series.strip_prefix("portcullis_calls_total{connector=\"")?.split('"').next())
        .collect();
    assert_eq!(names, BTreeSet::from(["crm-0", "crm-1", "crm-2", "other"]));
    assert_eq!(scraped.sum("portcullis_calls_total", &["connector=\"other\""]), 10.0);
    assert_eq!(scraped.sum("portcullis_calls_total", &["code=\"unconfigured\""]), 16.0);
}

/// Every run of the platform, by its pages.
async fn all_runs(platform: &Client) -> Vec<Value> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = platform.get(&format!("/admin/run?limit=100{after}")).await.is(200).json;
        found.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&starting_after={next}"),
            None => return found,
        }
    }
}

/// Every record of an org's ledger.
async fn all_records(tenant: &Tenant) -> Vec<Value> {
    let path = format!("/org/{}/outbound", tenant.org_id);
    let accept = [("accept", "application/x-ndjson")];
    let export: Answer = tenant.org.send("GET", &path, &accept, Vec::new()).await.is(200);
    export.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
