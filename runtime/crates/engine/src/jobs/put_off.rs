//! Runs that are put off: nothing was sent because a circuit breaker is open, or because there is no place.
//!
//! It is no try, and takes nothing from the budget of further tries. The wait is the breaker's, with chance in it, so that
//! the runs that wait for a vendor do not come together when it works again. Looking at a run costs a lease and a write
//! even if it is put off again, so the runs of one connection come back one after another: a backlog of thousands behind
//! a vendor that is down takes a small share of the workers, whatever its length.

use std::collections::HashMap;
use std::sync::Mutex;

use portcullis_action::plan::ErrorClass;
use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use portcullis_core::sync::lock;

use super::detail::{Detail, Failure};
use super::work::soon;
use crate::call::pipeline::Called;
use crate::call::run::RunEnd;
use crate::clock::{self, now_ms};
use crate::connection::ConnectionKey;
use crate::error::Error;

/// Connections that are remembered; those whose runs came back already are forgotten first.
const CONNECTIONS_MAX: usize = 10_000;

/// When the runs come back that were put off, for each connection. This process's own.
pub(super) struct Returns {
    spacing_ms: u64,
    /// When the last one of a connection comes back at the earliest.
    last: Mutex<HashMap<ConnectionKey, u64>>,
}

impl Returns {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { spacing_ms: limits.job_return_spacing_ms, last: Mutex::default() }
    }

    /// When a run is looked at again that could be at `earliest_ms`; milliseconds since 1970.
    pub(super) fn next(&self, connection: &ConnectionKey, earliest_ms: u64) -> u64 {
        self.next_at(connection, earliest_ms, now_ms())
    }

    // Why counted from now and not from `earliest_ms`: one with a long wait must not hold up those with a short one.
    fn next_at(&self, connection: &ConnectionKey, earliest_ms: u64, now: u64) -> u64 {
        let mut all = lock(&self.last);
        if all.len() >= CONNECTIONS_MAX && !all.contains_key(connection) {
            all.retain(|_, last| *last > now);
            if all.len() >= CONNECTIONS_MAX {
                all.clear();
            }
        }
        let last = all.entry(connection.clone()).or_insert(now);
        *last = now.max(*last).saturating_add(self.spacing_ms);
        earliest_ms.max(*last)
    }
}

/// When a run is due again for which nothing was sent because a breaker is open; `None` for any other.
pub(super) fn until_half_open(called: &Result<Called, Error>) -> Option<u64> {
    let Ok(Called { run, is_orphan: false }) = called else { return None };
    let RunEnd::Failed { code: Code::CircuitOpen, retry_at, .. } = &run.end else { return None };
    let at = retry_at.as_deref().and_then(clock::micros).map(|at| at.div_ceil(1000));
    Some(at.unwrap_or_else(soon))
}

/// Says why it waits, unless it says already what a try has said.
pub(super) fn put_off(mut detail: Detail) -> Detail {
    let class = Some(ErrorClass::Transient.as_str());
    let failure = || Failure::new(Code::CircuitOpen, Code::CircuitOpen.title(), class);
    detail.failure.get_or_insert_with(failure);
    detail
}

#[cfg(test)]
mod tests {
    use portcullis_core::id::{ConnectorId, OrgId, WorkspaceId};

    use super::*;

    fn connection(connector: &str) -> ConnectionKey {
        ConnectionKey {
            org: OrgId::parse("acme").unwrap(),
            workspace: WorkspaceId::parse("main").unwrap(),
            connector: ConnectorId::parse(connector).unwrap(),
            name: None,
        }
    }

    #[test]
    fn a_backlog_comes_back_one_after_another_and_a_single_run_when_it_can() {
        let limits = Limits::default();
        let spacing = limits.job_return_spacing_ms;
        let returns = Returns::new(&limits);
        let (dead, well) = (connection("dead"), connection("well"));
        let now = 1_000_000;
        let dues: Vec<u64> = (0..1000).map(|_| returns.next_at(&dead, now + 5000, now)).collect();
        assert_eq!(dues.first(), Some(&(now + 5000)), "the breaker's wait");
        assert_eq!(dues.last(), Some(&(now + 1000 * spacing)), "the thousandth");
        assert_eq!(
            returns.next_at(&well, now + 7, now),
            now + 7.max(spacing),
            "another connection's backlog"
        );
        let later = now + 2000 * spacing;
        assert_eq!(returns.next_at(&dead, later + 5000, later), later + 5000, "after the backlog");
    }

    #[test]
    fn a_long_wait_holds_up_nobody_else() {
        let returns = Returns::new(&Limits::default());
        let own = connection("own");
        let now = 1_000_000;
        returns.next_at(&own, now + 300_000, now);
        assert_eq!(returns.next_at(&own, now + 500, now), now + 500);
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let returns = Returns::new(&Limits::default());
        for number in 0..=CONNECTIONS_MAX {
            returns.next_at(&connection(&format!("c{number}")), 0, 1000);
        }
        assert!(lock(&returns.last).len() <= CONNECTIONS_MAX);
    }
}
