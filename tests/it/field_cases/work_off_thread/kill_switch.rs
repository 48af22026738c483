//! The kill switch and `/healthz` answer while third parties' answers are worked on. The product has threads of its
//! own; the clients and the third party have others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{ID, KEY, MIB, definition, get};
use crate::support::upstream::whole;
use crate::support::{Client, Script, Stage, Tenant, Upstream, World};

/// The longest that an answer may take.
const PROMPT: Duration = Duration::from_secs(1);
/// How long each load lasts.
const LENGTH: Duration = Duration::from_secs(4);

/// Switches a connector off and on and asks for `/healthz`, and asserts that each answer is prompt.
pub(super) async fn assert_prompt(platform: &Client, connector: &str, what: &str) {
    let path = format!("/admin/connector/{connector}");
    let (off, on) = (json!({ "enabled": false }), json!({ "enabled": true }));
    let began = Instant::now();
    while began.elapsed() < LENGTH {
        for step in ["healthz", "off", "on"] {
            let answer = async {
                match step {
                    "healthz" => platform.anonymous().get("/healthz").await,
                    "off" => platform.patch(&path, &off).await,
                    _ => platform.patch(&path, &on).await,
                }
            };
            let answer = tokio::time::timeout(PROMPT, answer).await;
            answer.unwrap_or_else(|_| panic!("{what}: {step} took over {PROMPT:?}")).is(200);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

struct Product {
    world: World,
    acme: Tenant,
    upstream: Upstream,
    stop: Arc<AtomicBool>,
    runtime: tokio::runtime::Handle,
}

impl Product {
    async fn start(actions: Vec<(&str, Value)>) -> Self {
        let upstream = Upstream::start(&["*.salesforce.com"]).await;
        let third_party = Some((upstream.address, upstream.ca_pem.clone()));
        let (started, starts) = oneshot::channel();
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            let runtime = portcullis_api::serve::runtime().unwrap();
            runtime.block_on(async {
                let world = Stage { third_party, ..Stage::default() }.start().await;
                assert!(started.send((world, tokio::runtime::Handle::current())).is_ok());
                while !stopped.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
            runtime.shutdown_background();
        });
        let (world, runtime) = starts.await.unwrap();
        world.platform.post("/admin/connector", &definition(actions)).await.is(201);
        let acme = world.tenant("acme", "main").await;
        acme.connect(ID, json!({ "api_key": KEY })).await;
        // What is switched off and on, so that the calls go on.
        let mut other = definition(vec![("get", get("/v1/get"))]);
        other["connector_id"] = json!("other");
        world.platform.post("/admin/connector", &other).await.is(201);
        Self { world, acme, upstream, stop, runtime }
    }

    /// Makes calls of this action all the time, some at once.
    fn load(&self, action: &'static str, input: &Value) {
        for _ in 0..6 {
            let (run, stop, input) = (self.acme.run.clone(), Arc::clone(&self.stop), input.clone());
            let path = format!("/run/acme/main/connector/{ID}/{action}");
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    run.post(&path, &json!({ "input": input })).await;
                }
            });
        }
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn kill_switch_answers_under_s2_next_links_that_are_hard_to_match() {
    let mut list = get("/{{input.a}}-{{input.b}}-{{input.c}}.json");
    list["body_schema"] = json!([{ "name": "a" }, { "name": "b" }, { "name": "c" }]);
    list["pagination"] = json!({ "type": "next_url", "items": "/items", "cursor_path": "/next" });
    let product = Product::start(vec![("list", list)]).await;
    let next = format!("/{}", "-".repeat(7000));
    let body = json!({ "items": [1], "next": next }).to_string();
    product.upstream.script("/x-y-z.json", Script::Kept(whole(200, &[], &body)));
    product.load("list", &json!({ "a": "x", "b": "y", "c": "z" }));
    assert_prompt(&product.world.platform, "other", "under next links").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn kill_switch_answers_under_large_answers() {
    let product = Product::start(vec![("read", get("/v1/read"))]).await;
    let row = json!({ "id": 1, "key": KEY, "text": "some words of an answer" }).to_string();
    let body = format!("[{}]", vec![row.as_str(); 9 * MIB / (row.len() + 1)].join(","));
    product.upstream.script("/v1/read", Script::Kept(whole(200, &[], &body)));
    product.load("read", &json!({}));
    assert_prompt(&product.world.platform, "other", "under large answers").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn kill_switch_ends_the_calls_that_compute() {
    let product = Product::start(vec![("read", get("/v1/read"))]).await;
    product.upstream.script("/v1/read", Script::Silence);
    product.load("read", &json!({}));
    let waiting = async || product.upstream.received().len() >= 6;
    crate::support::until("calls wait", waiting).await;
    let asked = Instant::now();
    product.world.platform.patch("/admin/connector/saas", &json!({ "enabled": false })).await.is(200);
    assert!(asked.elapsed() <= PROMPT);
    let ended = async || product.acme.ledger().await.iter().any(|e| e["code"] == "connector_disabled");
    crate::support::until("they end", ended).await;
}

/// Lets the busy threads go, also when the test fails.
#[derive(Default)]
struct Released(Arc<AtomicBool>);

impl Drop for Released {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn kill_switch_answers_while_every_serving_thread_is_busy() {
    let product = Product::start(vec![("read", get("/v1/read"))]).await;
    let (busy, serving) = (Arc::<AtomicUsize>::default(), product.runtime.clone());
    let release = Released::default();
    let threads = serving.metrics().num_workers();
    for _ in 0..threads {
        let (busy, stop) = (Arc::clone(&busy), Arc::clone(&release.0));
        serving.spawn(async move {
            busy.fetch_add(1, Ordering::Relaxed);
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
    }
    // Why all: one that is free takes a connection, and has it behind it when it becomes busy.
    crate::support::until("they are busy", async || busy.load(Ordering::Relaxed) == threads).await;
    assert_prompt(&product.world.platform, "other", "while every serving thread is busy").await;
    let call = product.acme.call(ID, "read", json!({}));
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(release);
    });
    call.await.is(200);
}
