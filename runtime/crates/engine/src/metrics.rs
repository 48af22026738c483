//! Metrics: what the process counted since its start, and figures that are read when somebody asks.
//!
//! What a call counts is an atomic number behind a map of handles; nothing waits. Figures that need a look at the store
//! or the disk are counted in the background (`scan.rs`), in bounded steps and only while somebody asks. Rendering is
//! the work of `exposition.rs`. No label names a tenant.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::RwLock;
use std::time::Duration;

use portcullis_core::fault::Code;
use portcullis_core::id::ConnectorId;
use portcullis_core::ledger::LedgerPhase;
use portcullis_core::limits::Limits;
use portcullis_core::sync::{read, write};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use crate::api_token::LoginFailure;
use crate::call::run::{RunStatus, Timing};
use crate::engine::Engine;

mod exposition;
mod figures;
mod labels;
mod process;
mod scan;
mod table;

pub use exposition::{Format, Outside, scrape};
pub use table::{MetricRow, TABLE};

use exposition::Exposition;
use labels::{Ended, Refusal, Word};
use scan::Scan;

/// Upper bounds of the histogram's buckets, seconds: from a fast guest to the longest call by default.
const BUCKETS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];

fn seconds() -> Histogram {
    Histogram::new(BUCKETS)
}

/// Adds a metric under the name and with the text of its row.
fn add(registry: &mut Registry, row: &MetricRow, metric: impl Metric) {
    registry.register(row.family(), row.help, metric);
}

type Words = Family<Word, Counter>;

/// The counters of a process.
pub(crate) struct Metrics {
    registry: Registry,
    calls: Family<Ended, Counter>,
    call_seconds: Family<Word, Histogram, fn() -> Histogram>,
    refusals: Family<Refusal, Counter>,
    runs_recorded: Words,
    renewals: Words,
    ledger_records: Words,
    ledger_errors: Counter,
    logins_failed: Words,
    /// Connectors with figures of their own.
    connectors: RwLock<HashSet<ConnectorId>>,
    connectors_max: usize,
    scan: Scan,
    exposition: Exposition,
}

/// What is on disk besides the store, by kind, and how many seconds ago that was measured.
pub(crate) async fn measured_disk(engine: &Engine) -> (Vec<(&'static str, u64)>, u64) {
    scan::measured(engine).await
}

impl Metrics {
    /// Counters at zero. `disk` names the directories whose size is a figure.
    pub(crate) fn new(limits: &Limits, disk: Vec<(&'static str, PathBuf)>) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(seconds as fn() -> Histogram),
            refusals: Family::default(),
            runs_recorded: Family::default(),
            renewals: Family::default(),
            ledger_records: Family::default(),
            ledger_errors: Counter::default(),
            logins_failed: Family::default(),
            connectors: RwLock::default(),
            connectors_max: usize::try_from(limits.metrics_connectors).unwrap_or(usize::MAX),
            scan: Scan::new(disk),
            exposition: Exposition::default(),
        };
        metrics.register();
        metrics.begin_at_zero();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        add(registry, &table::CALLS, self.calls.clone());
        add(registry, &table::CALL_SECONDS, self.call_seconds.clone());
        add(registry, &table::REFUSALS, self.refusals.clone());
        add(registry, &table::RUNS_RECORDED, self.runs_recorded.clone());
        add(registry, &table::RENEWALS, self.renewals.clone());
        add(registry, &table::LEDGER_RECORDS, self.ledger_records.clone());
        add(registry, &table::LEDGER_ERRORS, self.ledger_errors.clone());
        add(registry, &table::LOGINS, self.logins_failed.clone());
    }

    /// Makes the series of closed sets. Why: the first event of a series that was not there before is no increase.
    fn begin_at_zero(&self) {
        for phase in ["queue", "guest", "dns", "connect", "tls", "upstream", "total"] {
            drop(self.call_seconds.get_or_create(&Word("phase", phase)));
        }
        for status in RunStatus::ALL {
            drop(self.runs_recorded.get_or_create(&Word("status", status.as_str())));
        }
        for outcome in ["succeeded", "failed"] {
            drop(self.renewals.get_or_create(&Word("outcome", outcome)));
        }
        for phase in [LedgerPhase::Begin, LedgerPhase::Complete, LedgerPhase::Refused] {
            drop(self.ledger_records.get_or_create(&Word("phase", phase_word(phase))));
        }
        for reason in LoginFailure::ALL {
            drop(self.logins_failed.get_or_create(&Word("reason", reason.as_str())));
        }
        for code in [Code::WorkspaceBusy, Code::Overloaded] {
            drop(self.refusals.get_or_create(&Refusal { check: ADMISSION, code: code.as_str() }));
        }
    }

    /// A run ended. `code` is that of its error, or the reason for which it was skipped, or empty.
    pub(crate) fn run_ended(&self, connector: &ConnectorId, outcome: RunStatus, code: &'static str) {
        let connector = self.has_own_figures(connector).then(|| connector.clone());
        self.calls.get_or_create(&Ended { connector, outcome: outcome.as_str(), code }).inc();
    }

    /// Whether a connector is one of those that are told apart. One that is none stays none.
    fn has_own_figures(&self, connector: &ConnectorId) -> bool {
        // Why: its figures would be a second series of the same name.
        if connector.as_str() == labels::OTHER {
            return false;
        }
        {
            let known = read(&self.connectors);
            if known.len() >= self.connectors_max || known.contains(connector) {
                return known.contains(connector);
            }
        }
        let mut known = write(&self.connectors);
        known.len() < self.connectors_max && known.insert(connector.clone()) || known.contains(connector)
    }

    /// A call that a caller waited for, or a try, took this long.
    pub(crate) fn took(&self, timing: &Timing) {
        let phases = [
            ("queue", timing.queue_us),
            ("guest", timing.guest_us),
            ("dns", timing.dns_us),
            ("connect", timing.connect_us),
            ("tls", timing.tls_us),
            ("upstream", timing.upstream_us),
            ("total", Some(timing.total_us)),
        ];
        for (phase, us) in phases {
            if let Some(us) = us {
                let took = Duration::from_micros(us).as_secs_f64();
                self.call_seconds.get_or_create(&Word("phase", phase)).observe(took);
            }
        }
    }

    /// A check refused a call.
    pub(crate) fn refused(&self, check: &'static str, code: Code) {
        self.refusals.get_or_create(&Refusal { check, code: code.as_str() }).inc();
    }

    /// The record of a run was stored.
    pub(crate) fn run_recorded(&self, status: RunStatus) {
        self.runs_recorded.get_or_create(&Word("status", status.as_str())).inc();
    }

    /// A token was asked for.
    pub(crate) fn token_asked_for(&self, succeeded: bool) {
        let outcome = if succeeded { "succeeded" } else { "failed" };
        self.renewals.get_or_create(&Word("outcome", outcome)).inc();
    }

    /// A ledger took a record, or did not.
    pub(crate) fn ledger_appended(&self, phase: LedgerPhase, succeeded: bool) {
        if succeeded {
            self.ledger_records.get_or_create(&Word("phase", phase_word(phase))).inc();
        } else {
            self.ledger_errors.inc();
        }
    }

    /// A request had no valid token.
    pub(crate) fn login_failed(&self, reason: LoginFailure) {
        self.logins_failed.get_or_create(&Word("reason", reason.as_str())).inc();
    }
}

/// The check of a call that found no place.
pub(crate) const ADMISSION: &str = "admission";

const fn phase_word(phase: LedgerPhase) -> &'static str {
    match phase {
        LedgerPhase::Begin => "begin",
        LedgerPhase::Complete => "complete",
        LedgerPhase::Refused => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(metrics: &Metrics) -> Vec<String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &metrics.registry).unwrap();
        text.lines().filter(|line| line.starts_with("portcullis_calls_total{")).map(str::to_owned).collect()
    }

    #[test]
    fn connectors_beyond_the_limit_are_counted_together_and_stay_there() {
        let limits = Limits { metrics_connectors: 2, ..Limits::default() };
        let metrics = Metrics::new(&limits, Vec::new());
        for _ in 0..2 {
            for name in ["other", "a", "b", "c", "d"] {
                metrics.run_ended(&ConnectorId::parse(name).unwrap(), RunStatus::Succeeded, "");
            }
        }
        let mut lines = counted(&metrics);
        lines.sort();
        let line = |connector: &str, count: u32| {
            format!(
                "portcullis_calls_total{{connector=\"{connector}\",outcome=\"succeeded\",code=\"\"}} {count}"
            )
        };
        assert_eq!(lines, [line("a", 2), line("b", 2), line("other", 6)]);
    }
}
