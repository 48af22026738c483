//! A data directory with many runs and many ledger records: how long it takes to open, to answer each kind of question,
//! and to drop half while both are written. In the suite it has few, and only what is counted is asserted.
//!
//! By hand, for the figures: `PORTCULLIS_RUNS=1000000 PORTCULLIS_RECORDS=1000000 cargo test --release
//! -p portcullis-store --lib a_directory_of_many -- --nocapture`; `make prove` does the same.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis_core::id::{ActionId, ConnectorId, EntryId, OrgId, RunId, WorkspaceId};
use portcullis_core::ledger::{LedgerEvent, LedgerPhase, LedgerVerdict, PhaseDurations};

use crate::ledger::tests::{event, org};
use crate::runs::tests::{generated, ids};
use crate::{
    Backends, Ledger, LedgerCut, LedgerQuery, LedgerSync, RunCut, RunFilter, RunOrder, RunQuery, RunScope,
};

/// 2026-01-01, when the first run and the first attempt begin; the next follows a second later.
const FIRST_US: i64 = 1_767_225_600_000_000;

/// The time of an attempt, and of the run with its number.
fn at(n: u64) -> String {
    let us = FIRST_US + i64::try_from(n).unwrap() * 1_000_000;
    format!("{:.6}", Timestamp::from_microsecond(us).unwrap())
}

fn entry(n: u64) -> EntryId {
    EntryId::parse(&format!("out_{n:012x}7abc8def0123456789ab")).unwrap()
}

/// The generator: both records of attempt number `n`, whose members differ from its neighbours'. Every hundredth is one of
/// few to its host; every fifth was refused and has one record only.
fn attempt(n: u64) -> Vec<LedgerEvent> {
    let workspace = if n.is_multiple_of(3) { "side" } else { "main" };
    let host = if n.is_multiple_of(100) { "rare" } else { "api" };
    let begin = LedgerEvent {
        entry_id: entry(n),
        at: at(n),
        workspace: WorkspaceId::parse(workspace).unwrap(),
        connector_id: ConnectorId::parse(&format!("crm-{}", n % 3)).unwrap(),
        action_id: ActionId::parse(&format!("act-{}", n % 4)).unwrap(),
        run_id: RunId::parse(&format!("run_{n:012x}7abc8def0123456789ab")).unwrap(),
        origin: format!("https://{host}.example.com"),
        path: "/v1/contacts/003Hs00004GvfRXIAZ".to_owned(),
        matched_connector: Some("*.example.com".to_owned()),
        ..event("acme", "out_1", LedgerPhase::Begin)
    };
    if n.is_multiple_of(5) {
        let refused = LedgerEvent {
            phase: LedgerPhase::Refused,
            verdict: LedgerVerdict::Refuse,
            code: Some("host_not_in_org".to_owned()),
            ..begin
        };
        return vec![refused];
    }
    let complete = LedgerEvent {
        phase: LedgerPhase::Complete,
        verdict: if n.is_multiple_of(7) { LedgerVerdict::Error } else { LedgerVerdict::Allow },
        code: n.is_multiple_of(7).then(|| "upstream_timeout".to_owned()),
        addresses: vec!["93.184.216.34".to_owned()],
        chosen_address: Some("93.184.216.34".to_owned()),
        tls_version: Some("1.3".to_owned()),
        durations: PhaseDurations {
            first_byte_us: Some(1200),
            total_us: Some(1600),
            ..PhaseDurations::default()
        },
        ..begin.clone()
    };
    vec![begin, complete]
}

#[allow(clippy::disallowed_methods, reason = "the counts of `make prove`")]
fn count(name: &str) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

#[allow(clippy::disallowed_methods, reason = "the counts of `make prove`")]
fn is_asked_for() -> bool {
    std::env::var("PORTCULLIS_RECORDS").is_ok()
}

/// Shown where the figures were asked for.
#[allow(clippy::print_stdout, reason = "its figures are for the person who asked for them by the variable")]
fn say(what: &str, took: Duration) {
    if is_asked_for() {
        println!("{what}: {:.2} ms", took.as_secs_f64() * 1e3);
    }
}

/// Attempts with at least so many records; returns how many attempts.
async fn fill(dir: &Path, runs: u64, records: u64) -> u64 {
    let filling = Backends::open_directory(dir, LedgerSync::Group).unwrap();
    let (org, main) = ids("acme", "main");
    for n in 0..runs {
        filling.runs.append(&generated(&org, &main, n)).await.unwrap();
    }
    let (mut attempts, mut written) = (0, 0);
    while written < records {
        for event in attempt(attempts) {
            written = filling.ledger.append(&event).await.unwrap();
        }
        attempts += 1;
    }
    attempts
}

/// What is asked of the ledger: a filter, and whether most attempts match it.
fn questions(attempts: u64) -> Vec<(&'static str, LedgerQuery, bool)> {
    let half = attempts / 2;
    let base = LedgerQuery::default;
    let text = |text: &str| Some(text.to_owned());
    vec![
        ("no filter", base(), true),
        ("workspace", LedgerQuery { workspace: WorkspaceId::parse("side").ok(), ..base() }, true),
        ("connector", LedgerQuery { connector_id: ConnectorId::parse("crm-1").ok(), ..base() }, true),
        ("action", LedgerQuery { action_id: ActionId::parse("act-3").ok(), ..base() }, true),
        ("verdict", LedgerQuery { verdict: Some(LedgerVerdict::Refuse), ..base() }, true),
        ("code", LedgerQuery { code: text("upstream_timeout"), ..base() }, true),
        ("host", LedgerQuery { host: text("rare.example.com"), ..base() }, false),
        (
            "run",
            LedgerQuery { run_id: RunId::parse("run_0000000000117abc8def0123456789ab").ok(), ..base() },
            false,
        ),
        ("since", LedgerQuery { since: Some(at(half)), ..base() }, true),
        ("until", LedgerQuery { until: Some(at(half)), ..base() }, false),
        ("nothing", LedgerQuery { code: text("dns_failed"), ..base() }, false),
    ]
}

async fn ask_ledger(ledger: &dyn Ledger, org: &OrgId, attempts: u64) {
    for (name, query, is_common) in questions(attempts) {
        let from = Instant::now();
        let page = ledger.read(org, &query).await.unwrap();
        let took = from.elapsed();
        say(&format!("ledger, {name}: {} entries, more {}", page.entries.len(), page.next.is_some()), took);
        assert!(!is_common || page.entries.len() == query.limit, "{name}: {}", page.entries.len());
        // What is rare may be further back than a page looks.
        assert!(page.next.is_some() || name == "nothing" || !page.entries.is_empty(), "{name}");
    }
}

async fn ask_runs(backends: &Backends, org: &OrgId) {
    let text = |text: &str| Some(text.to_owned());
    let filters = [
        ("no filter", RunFilter::default()),
        ("status", RunFilter { status: text("failed"), ..RunFilter::default() }),
        ("class", RunFilter { class: text("auth"), ..RunFilter::default() }),
        ("connector", RunFilter { connector_id: text("crm-1"), ..RunFilter::default() }),
        ("event", RunFilter { event_id: text("event 17"), ..RunFilter::default() }),
        ("nothing", RunFilter { code: text("nowhere"), ..RunFilter::default() }),
    ];
    for (name, filter) in filters {
        let scope = RunScope::Org(org.clone());
        let query = RunQuery { scope, filter, order: RunOrder::NewestFirst, after: None, limit: 50 };
        let from = Instant::now();
        let page = backends.runs.query(&query).await.unwrap().unwrap();
        say(
            &format!("runs, {name}: {} runs, more {}", page.records.len(), page.next.is_some()),
            from.elapsed(),
        );
        assert!(!page.records.is_empty() || page.next.is_some() || name == "nothing", "{name}");
    }
}

/// Appends while half is dropped; returns how many records were written meanwhile and the slowest append.
async fn halve(backends: &Backends, org: &OrgId, attempts: u64, runs: u64) -> (u64, Duration) {
    let (of_ledger, of_runs) = (at(attempts / 2), FIRST_US + i64::try_from(runs / 2).unwrap() * 1_000_000);
    let before_us = u64::try_from(of_runs).unwrap();
    let dropping = {
        let (backends, org) = (backends.clone(), org.clone());
        tokio::spawn(async move {
            let from = Instant::now();
            let cut = LedgerCut { before: Some(of_ledger), ..LedgerCut::default() };
            let left = backends.ledger.retain(&org, &cut).await.unwrap();
            say(&format!("ledger drops {} segments", left.segments_dropped), from.elapsed());
            let from = Instant::now();
            let cut = RunCut { before_us: Some(before_us), ..RunCut::default() };
            let runs_left = backends.runs.retain(&org, &cut).await.unwrap();
            say(&format!("runs drop {} files", runs_left.dropped), from.elapsed());
            (left, runs_left)
        })
    };
    let (main, mut written, mut slowest) = (WorkspaceId::parse("main").unwrap(), 0, Duration::ZERO);
    while !dropping.is_finished() {
        for event in attempt(attempts + written) {
            let from = Instant::now();
            backends.ledger.append(&event).await.unwrap();
            slowest = slowest.max(from.elapsed());
        }
        backends.runs.append(&generated(org, &main, runs + written)).await.unwrap();
        written += 1;
        tokio::task::yield_now().await;
    }
    let (left, runs_left) = dropping.await.unwrap();
    if is_asked_for() {
        assert!(left.segments_dropped > 0 && runs_left.dropped > 0, "{left:?} {runs_left:?}");
    }
    (written, slowest)
}

/// Files are as old as their newest record, as those of a process that ran all the time would be.
fn age(dir: &Path) {
    let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    for folder in ["ledger/acme", "runs/acme/main"] {
        for file in std::fs::read_dir(dir.join(folder)).unwrap() {
            let file = std::fs::File::options().append(true).open(file.unwrap().path()).unwrap();
            file.set_modified(long_ago).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_many_runs_and_records_opens_answers_and_is_halved_while_it_is_written() {
    let (runs, records) = (count("PORTCULLIS_RUNS"), count("PORTCULLIS_RECORDS"));
    let dir = tempfile::tempdir().unwrap();
    let from = Instant::now();
    let attempts = fill(dir.path(), runs, records).await;
    say(&format!("written: {runs} runs, {records} records of {attempts} attempts"), from.elapsed());
    age(dir.path());
    let org = org("acme");
    let from = Instant::now();
    let backends = Backends::open_directory(dir.path(), LedgerSync::Group).unwrap();
    say("open", from.elapsed());
    let from = Instant::now();
    for event in attempt(attempts) {
        backends.ledger.append(&event).await.unwrap();
    }
    say("the first attempt after it", from.elapsed());
    for round in ["first", "again"] {
        say(round, Duration::ZERO);
        ask_ledger(&*backends.ledger, &org, attempts).await;
        ask_runs(&backends, &org).await;
    }
    let (written, slowest) = halve(&backends, &org, attempts + 1, runs).await;
    say(&format!("the slowest append of {written} attempts meanwhile"), slowest);
    let from = Instant::now();
    let report = backends.ledger.verify(&org).await.unwrap();
    say(&format!("verify {} records of {} segments", report.records, report.segments), from.elapsed());
    assert!(report.is_intact(), "{report:?}");
    assert!(!is_asked_for() || report.anchored, "half was dropped");
    drop(backends);
    let backends = Backends::open_directory(dir.path(), LedgerSync::Group).unwrap();
    assert!(backends.ledger.verify(&org).await.unwrap().is_intact(), "also after another start");
}
