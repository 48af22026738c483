//! Figures that are read when somebody asks: all from memory, except the size of the store and `/proc`.

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::exposition::Outside;
use super::labels::{Breaking, OfNode, Word};
use super::{MetricRow, add, table};
use crate::breaker::{BreakerCount, BreakerState};
use crate::engine::Engine;

/// Adds the figures of now. A part of the storage that does not answer has none, and its `…_well` says so.
pub(super) async fn register(registry: &mut Registry, engine: &Engine, outside: &Outside) {
    let resources = &engine.resources;
    let flag = |flag: bool| ConstGauge::new(i64::from(flag));
    let number = |count: usize| ConstGauge::new(count as u64);
    let store = resources.records.store();
    add(registry, &table::ACTIVE_CALLS, number(engine.active_calls()));
    add(registry, &table::QUEUE_ADMITTED, number(engine.scheduler().calls()));
    add(registry, &table::QUEUE_WAITING, number(engine.scheduler().waiting()));
    add(registry, &table::QUEUE_WORKER_BYTES, ConstGauge::new(resources.workers.seated_bytes()));
    add(registry, &table::POOL, number(resources.gate.idle_connections()));
    add(registry, &table::RUNS_WELL, flag(engine.runs.is_well()));
    add(registry, &table::LEDGER_WELL, flag(resources.ledger.is_well()));
    add(registry, &table::LEDGER_INTACT, flag(!resources.ledger.is_damaged()));
    let stats = store.stats().await;
    add(registry, &table::STORE_WELL, flag(store.is_well() && stats.is_ok()));
    add(registry, &table::CHANGES_AGE, ConstGauge::new(resources.freshness.age().as_secs_f64()));
    add(registry, &table::STORE_ANCHORED, flag(store.is_anchored()));
    if let Ok(stats) = &stats {
        add(registry, &table::STORE_COMMITS, ConstCounter::new(stats.seq));
        add(registry, &table::STORE_RECORDS, ConstGauge::new(stats.records));
    }
    add(registry, &table::REQUESTS, ConstCounter::new(outside.requests));
    add(registry, &table::LOG_LOST, ConstCounter::new(outside.log_lines_lost));
    let breakers = Family::<Breaking, Gauge>::default();
    for BreakerCount { kind, state, count } in engine.breakers().snapshot() {
        let state = state.map_or("closed", BreakerState::as_str);
        let labels = Breaking { kind: kind.as_str(), state };
        breakers.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    add(registry, &table::BREAKERS, breakers);
    words(registry, &table::BUILD, "version", [(env!("CARGO_PKG_VERSION"), 1)]);
    let node = Family::<OfNode, Gauge>::default();
    node.get_or_create(&OfNode(engine.node().as_str().to_owned())).set(1);
    add(registry, &table::NODE, node);
    counted(registry, engine, stats.ok().map(|stats| stats.disk_bytes));
}

/// What was counted in the background, as far as it was. The store says its own size.
fn counted(registry: &mut Registry, engine: &Engine, store_bytes: Option<u64>) {
    let counted = engine.resources.metrics.scan.counted();
    words(registry, &table::CONNECTIONS, "state", counted.connections);
    words(registry, &table::JOBS, "state", counted.jobs);
    let of_store = store_bytes.map(|bytes| ("store", bytes));
    words(registry, &table::DISK, "kind", of_store.into_iter().chain(counted.disk));
    words(registry, &table::SCAN_AGE, "kind", counted.ages_s);
}

/// A gauge with one label.
fn words(
    registry: &mut Registry,
    row: &MetricRow,
    label: &'static str,
    figures: impl IntoIterator<Item = (&'static str, u64)>,
) {
    let family = Family::<Word, Gauge>::default();
    for (word, figure) in figures {
        family.get_or_create(&Word(label, word)).set(i64::try_from(figure).unwrap_or(i64::MAX));
    }
    add(registry, row, family);
}
