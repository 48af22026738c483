//! The breakers of a process together: permits, the two kinds, room, and many callers at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis_core::id::WorkspaceId;

use super::*;
use crate::clock;

/// Opens after three failures, for a moment.
fn limits() -> Limits {
    Limits { breaker_failures: 3, breaker_open_ms: 1, breaker_open_max_ms: 1, ..Limits::default() }
}

fn breakers(limits: &Limits) -> Arc<Breakers> {
    Arc::new(Breakers::new(limits))
}

/// The connection of an org's workspace, and the host that all connections share.
fn key(org: &str, workspace: &str) -> ConnectionKey {
    ConnectionKey {
        org: OrgId::parse(org).unwrap(),
        workspace: WorkspaceId::parse(workspace).unwrap(),
        connector: ConnectorId::parse("saas").unwrap(),
        name: None,
    }
}

const ORIGIN: &str = "https://api.saas.com";

fn host(origin: &str) -> HostKey {
    HostKey { connector: ConnectorId::parse("saas").unwrap(), origin: origin.to_owned() }
}

fn ask(breakers: &Arc<Breakers>, key: &ConnectionKey, outcome: Outcome) -> Result<(), CircuitOpen> {
    let permit = breakers.admit(key, Some(host(ORIGIN)), Asking::Permission)?;
    permit.settle(outcome, ORIGIN);
    Ok(())
}

fn count(breakers: &Breakers, kind: BreakerKind, state: Option<BreakerState>) -> usize {
    let counts = breakers.snapshot();
    counts.iter().find(|count| (count.kind, count.state) == (kind, state)).unwrap().count
}

fn a_while() {
    std::thread::sleep(Duration::from_millis(2));
}

/// Three failures of the connection of one workspace after a success of others, so that only its own breaker opens.
fn fail_alone(breakers: &Arc<Breakers>, failing: &ConnectionKey) {
    ask(breakers, &key("other", "main"), Outcome::Answered).unwrap();
    for _ in 0..3 {
        ask(breakers, failing, Outcome::Failed).unwrap();
    }
}

#[test]
fn a_named_connection_that_fails_alone_is_refused_alone() {
    let long = Limits { breaker_open_ms: 60_000, breaker_open_max_ms: 60_000, ..limits() };
    let breakers = breakers(&long);
    let default = key("acme", "main");
    let sales = ConnectionKey { name: ConnectionName::parse("sales").ok(), ..default.clone() };
    fail_alone(&breakers, &sales);
    assert!(ask(&breakers, &sales, Outcome::Answered).is_err());
    assert!(ask(&breakers, &default, Outcome::Answered).is_ok());
    let open = breakers.not_closed();
    let names: Vec<_> =
        open.iter().map(|view| view.connection.as_ref().map(ConnectionName::as_str)).collect();
    assert_eq!(names, [Some("sales")]);
}

#[test]
fn a_connection_that_fails_alone_is_refused_alone() {
    let long = Limits { breaker_open_ms: 60_000, breaker_open_max_ms: 60_000, ..limits() };
    let breakers = breakers(&long);
    let bad = key("acme", "bad");
    fail_alone(&breakers, &bad);
    let refused = ask(&breakers, &bad, Outcome::Answered).unwrap_err();
    assert!(
        refused.wait > Duration::from_secs(59) && refused.wait <= Duration::from_secs(120),
        "{refused:?}"
    );
    assert_eq!(ask(&breakers, &key("acme", "good"), Outcome::Answered), Ok(()), "its org's other workspace");
    assert_eq!(ask(&breakers, &key("other", "main"), Outcome::Answered), Ok(()));
    assert_eq!(count(&breakers, BreakerKind::Connection, Some(BreakerState::Open)), 1);
    assert_eq!(count(&breakers, BreakerKind::Host, Some(BreakerState::Open)), 0);
    assert!(breakers.would_refuse(&bad, None) && !breakers.would_refuse(&key("acme", "good"), None));
    let seen = breakers.of_connection(&bad).unwrap();
    assert_eq!(seen.state, BreakerState::Open);
    assert!(!clock::has_passed(&seen.until));
}

#[test]
fn a_failure_of_another_host_is_not_the_hosts() {
    let breakers = breakers(&limits());
    for _ in 0..10 {
        let permit = breakers.admit(&key("acme", "main"), Some(host(ORIGIN)), Asking::Nothing).unwrap();
        permit.settle(Outcome::Failed, "https://elsewhere.saas.com");
    }
    assert_eq!(count(&breakers, BreakerKind::Host, None), 1);
    assert_eq!(count(&breakers, BreakerKind::Connection, None), 0, "the connection has failed");
}

#[test]
fn what_nobody_failed_at_is_not_noted_for_connections() {
    let breakers = breakers(&limits());
    for number in 0..100 {
        ask(&breakers, &key("acme", &format!("w{number}")), Outcome::Answered).unwrap();
        ask(&breakers, &key("acme", &format!("w{number}")), Outcome::Unknown).unwrap();
    }
    assert_eq!(count(&breakers, BreakerKind::Connection, None), 0);
    assert_eq!(count(&breakers, BreakerKind::Host, None), 1);
}

#[test]
fn a_probe_that_is_dropped_gives_both_places_back() {
    let breakers = breakers(&limits());
    let main = key("acme", "main");
    for _ in 0..3 {
        ask(&breakers, &main, Outcome::Failed).unwrap();
    }
    assert_eq!(count(&breakers, BreakerKind::Host, None), 0, "it opened for its only org");
    a_while();
    let probe = breakers.admit(&main, Some(host(ORIGIN)), Asking::Permission).unwrap();
    assert!(breakers.admit(&main, Some(host(ORIGIN)), Asking::Permission).is_err(), "one probe");
    drop(probe);
    let probe = breakers.admit(&main, Some(host(ORIGIN)), Asking::Permission).ok().unwrap();
    probe.settle(Outcome::Answered, ORIGIN);
    assert_eq!(breakers.of_connection(&main).map(|seen| seen.state), None);
    assert!(breakers.not_closed().is_empty());
}

#[test]
fn a_host_that_refuses_gives_the_connections_place_back() {
    let breakers = breakers(&limits());
    let main = key("acme", "main");
    for _ in 0..3 {
        ask(&breakers, &main, Outcome::Failed).unwrap();
    }
    a_while();
    let held = breakers.admit_host(&main.org, host(ORIGIN), Asking::Permission).unwrap();
    assert!(
        breakers.admit(&main, Some(host(ORIGIN)), Asking::Permission).is_err(),
        "the host's probe is under way"
    );
    assert!(breakers.admit(&main, None, Asking::Permission).is_ok(), "the connection's place is free");
    drop(held);
}

#[test]
fn one_probe_goes_under_many_threads() {
    let breakers = breakers(&limits());
    let main = key("acme", "main");
    for _ in 0..3 {
        ask(&breakers, &main, Outcome::Failed).unwrap();
    }
    a_while();
    let (probes, all) = (AtomicUsize::new(0), std::sync::Barrier::new(8));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let permit = breakers.admit(&main, Some(host(ORIGIN)), Asking::Permission);
                probes.fetch_add(usize::from(permit.is_ok()), Ordering::SeqCst);
                all.wait();
                drop(permit);
            });
        }
    });
    assert_eq!(probes.into_inner(), 1);
}

#[test]
fn a_test_of_a_person_goes_and_its_success_closes() {
    let long = Limits { breaker_open_ms: 60_000, breaker_open_max_ms: 60_000, ..limits() };
    let breakers = breakers(&long);
    let main = key("acme", "main");
    for _ in 0..3 {
        ask(&breakers, &main, Outcome::Failed).unwrap();
    }
    let test = breakers.admit(&main, Some(host(ORIGIN)), Asking::Nothing).ok().unwrap();
    test.settle(Outcome::Answered, ORIGIN);
    assert_eq!(ask(&breakers, &main, Outcome::Answered), Ok(()));
}

#[test]
fn breakers_are_bounded_and_the_open_ones_stay_longest() {
    let few = Limits { breakers: 160, breaker_open_ms: 60_000, breaker_open_max_ms: 60_000, ..limits() };
    let breakers = breakers(&few);
    let open: Vec<ConnectionKey> = (0..20).map(|number| key("acme", &format!("open{number}"))).collect();
    for failing in &open {
        for _ in 0..3 {
            let permit = breakers.admit(failing, None, Asking::Permission).unwrap();
            permit.settle(Outcome::Failed, ORIGIN);
        }
    }
    for number in 0..2000 {
        let permit = breakers
            .admit(
                &key("hostile", &format!("w{number}")),
                Some(host(&format!("https://h{number}.saas.com"))),
                Asking::Permission,
            )
            .unwrap();
        permit.settle(Outcome::Failed, &format!("https://h{number}.saas.com"));
        let permit =
            breakers.admit_host(&open[0].org, host(&format!("https://g{number}.saas.com")), Asking::Nothing);
        permit.unwrap().settle(Outcome::Answered, "");
    }
    let noted: usize = breakers.snapshot().iter().map(|count| count.count).sum();
    assert!(noted <= 2 * 160, "{noted}");
    assert!(open.iter().all(|key| breakers.of_connection(key).is_some()));
}
