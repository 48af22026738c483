//! Schedules: what fires by the clock, once whatever happens to the process and to the clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_core::limits::Limits;
use portcullis_engine::Engine;
use portcullis_engine::clock::WallClock;
use portcullis_store::{MemoryStore, Store};
use serde_json::{Value, json};

use crate::support::world::contact_automation;
use crate::support::{Answer, Stage, Tenant, World, lay, until};

mod clocks;
mod crashes;
mod firing;
mod nodes;
mod saving;

const KEY: &str = "sk-live-0123456789abcdef";
/// Where the Salesforce example's action goes.
const PATH: &str = "/v1/contacts";
const AUTOMATIONS: &str = "/org/acme/automation";
/// A Monday, an hour before nine o'clock in Berlin.
const EIGHT: &str = "2026-11-30T07:00:00Z";
const NINE: &str = "2026-11-30T08:00:00Z";
const NEXT_MONDAY: &str = "2026-12-07T08:00:00Z";

/// A clock that a test sets.
#[derive(Clone)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn at(time: &str) -> Self {
        Self(Arc::new(AtomicU64::new(ms(time))))
    }

    fn wall(&self) -> WallClock {
        let own = self.clone();
        WallClock::new(move || own.0.load(Ordering::SeqCst))
    }

    /// Sets the clock, and has this product look at it.
    fn set(&self, engine: &Engine, time: &str) {
        self.0.store(ms(time), Ordering::SeqCst);
        engine.wake_schedules();
    }
}

fn ms(time: &str) -> u64 {
    u64::try_from(time.parse::<jiff::Timestamp>().unwrap().as_millisecond()).unwrap()
}

/// A world with the Salesforce example, connected, whose clock a test sets.
struct Scene {
    world: World,
    acme: Tenant,
    clock: Clock,
    store: Arc<dyn Store>,
}

impl Scene {
    /// With nobody who fires schedules or executes runs.
    async fn still(limits: Limits, store: Arc<dyn Store>) -> Self {
        let clock = Clock::at(EIGHT);
        let stage =
            Stage { limits, store: Some(Arc::clone(&store)), clock: clock.wall(), ..Stage::default() };
        let (world, acme) = World::salesforce_on(stage).await;
        acme.connect("salesforce", json!({ "api_key": KEY })).await;
        Self { world, acme, clock, store }
    }

    async fn new() -> Self {
        Self::with(quick()).await
    }

    async fn with(limits: Limits) -> Self {
        let scene = Self::still(limits, Arc::new(MemoryStore::new())).await;
        scene.world.engine.start_jobs();
        scene.world.engine.start_schedules();
        scene
    }

    /// Another workspace of the org, connected.
    async fn workspace(&self, name: &str) -> Tenant {
        let tenant = self.world.tenant("acme", name).await;
        tenant.connect("salesforce", json!({ "api_key": KEY })).await;
        tenant
    }

    fn set(&self, time: &str) {
        self.clock.set(&self.world.engine, time);
    }

    /// The next life of the process, with a worker of each kind.
    async fn another_life(&self) -> (Arc<Engine>, SocketAddr) {
        let (engine, address) = self.world.another_life(Arc::clone(&self.store)).await;
        engine.start_jobs();
        engine.start_schedules();
        (engine, address)
    }

    /// Texts that the vendor received.
    fn sent(&self) -> Vec<String> {
        self.world.upstream.received_on(PATH).iter().map(|request| request.text().to_owned()).collect()
    }

    async fn until_sent(&self, count: usize) {
        until(&format!("{count} were sent"), async || self.sent().len() >= count).await;
    }

    /// Until this automation's schedule comes to this time next, with nothing of a firing left.
    async fn until_next(&self, id: &str, next_at: &str) {
        let read = async || self.show(id).await;
        until(&format!("{next_at} is next"), async || read().await["schedule_state"]["next_at"] == next_at)
            .await;
    }

    async fn show(&self, id: &str) -> Value {
        self.acme.org.get(&format!("{AUTOMATIONS}/{id}")).await.is(200).json
    }

    /// The runs of the org of one firing, once there are so many and all have ended.
    async fn runs(&self, id: &str, at: &str, count: usize) -> Vec<Value> {
        let path = format!("/org/acme/run?event_id=schedule:{id}:{at}");
        let list = async |path: &str| {
            let answer = self.acme.org.get(path).await.is(200);
            answer.json["data"].as_array().unwrap().clone()
        };
        let read = async || {
            // Why also these: while a skipped one can be taken up, it is listed by its status alone.
            let mut data = list(&format!("{path}&status=skipped")).await;
            let mut others = list(&path).await;
            others.retain(|run| data.iter().all(|skipped| skipped["run_id"] != run["run_id"]));
            data.append(&mut others);
            let is_open =
                |run: &&Value| matches!(run["status"].as_str(), Some("queued" | "running" | "waiting"));
            let open = data.iter().filter(is_open).count();
            (data, open)
        };
        let what = format!("there are {count} runs of {at}, and all have ended");
        until(&what, async || matches!(read().await, (data, 0) if data.len() == count)).await;
        read().await.0
    }
}

/// Limits with which nothing waits for long.
fn quick() -> Limits {
    Limits { concurrent_calls: 32, job_retry_base_ms: 1, job_retry_spare_ms: 1, ..Limits::default() }
}

/// An automation that fires on Mondays at nine in Berlin, and by no event; other members are merged into it.
fn mondays(members: &Value) -> Value {
    let mut automation = contact_automation();
    for name in ["entity_name", "event_name", "event_stage", "event_optype"] {
        automation.as_object_mut().unwrap().remove(name);
    }
    lay(
        &mut automation,
        &json!({
            "schedule": { "cron": "0 9 * * MON", "timezone": "Europe/Berlin" },
            "destination_config": { "field_mapping": {
                "Email": "{{source.schedule.at}}|{{source.schedule.previous_at | default:'none'}}",
            } },
        }),
    );
    lay(&mut automation, members);
    automation
}

async fn save(tenant: &Tenant, automation: &Value) -> Answer {
    tenant.org.post(AUTOMATIONS, automation).await
}

/// Saves an automation; returns its id.
async fn saved(tenant: &Tenant, automation: &Value) -> String {
    save(tenant, automation).await.is(201).json["automation_id"].as_str().unwrap().to_owned()
}

/// Replaces an automation.
async fn replace(tenant: &Tenant, id: &str, automation: &Value) {
    tenant.org.put(&format!("{AUTOMATIONS}/{id}"), automation).await.is(200);
}
