//! How many further tries a connection may make: a share of its first tries, so that a vendor that is down gets little
//! more than its usual load. Counted in this process.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use portcullis_core::limits::Limits;
use portcullis_core::sync::lock;

use crate::connection::ConnectionKey;

/// Further tries that a connection may save up: a long time without failures must not end in a storm.
const SAVED_MAX: f64 = 10.0;
/// Connections that are remembered. What is forgotten begins anew, with nothing saved.
const CONNECTIONS_MAX: usize = 10_000;

/// The budgets of all connections.
pub(super) struct RetryBudget {
    /// What a first try adds.
    share: f64,
    /// The time in which one further try is free.
    spare: Duration,
    connections: Mutex<HashMap<ConnectionKey, Budget>>,
}

/// What a connection may spend.
struct Budget {
    saved: f64,
    /// From when on the time counts that gives the next free try.
    since: Instant,
}

impl RetryBudget {
    pub(super) fn new(limits: &Limits) -> Self {
        let percent = u32::try_from(limits.job_retry_percent).unwrap_or(100);
        Self {
            share: f64::from(percent) / 100.0,
            spare: Duration::from_millis(limits.job_retry_spare_ms),
            connections: Mutex::default(),
        }
    }

    /// Notes a first try.
    pub(super) fn note_first(&self, connection: &ConnectionKey, now: Instant) {
        self.with(connection, now, |budget| {
            budget.saved = (budget.saved + self.share).min(SAVED_MAX);
        });
    }

    /// Takes a further try.
    ///
    /// # Errors
    /// The time after which one is free for certain.
    pub(super) fn take(&self, connection: &ConnectionKey, now: Instant) -> Result<(), Duration> {
        self.with(connection, now, |budget| {
            let waited = now.saturating_duration_since(budget.since);
            if budget.saved >= 1.0 {
                budget.saved -= 1.0;
            } else if waited >= self.spare {
                budget.since = now;
            } else {
                return Err(self.spare.saturating_sub(waited));
            }
            Ok(())
        })
    }

    /// Gives back what a try took or added that was not made after all.
    pub(super) fn undo(&self, connection: &ConnectionKey, was_first: bool, now: Instant) {
        self.with(connection, now, |budget| {
            let change = if was_first { -self.share } else { 1.0 };
            budget.saved = (budget.saved + change).clamp(0.0, SAVED_MAX);
        });
    }

    fn with<T>(&self, connection: &ConnectionKey, now: Instant, change: impl FnOnce(&mut Budget) -> T) -> T {
        let mut connections = lock(&self.connections);
        if connections.len() >= CONNECTIONS_MAX && !connections.contains_key(connection) {
            // Why not all: connections are named by callers, and one who invents names must not forget others' budgets.
            connections.retain(|other, _| other.org != connection.org);
            if connections.len() >= CONNECTIONS_MAX {
                let spare = self.spare;
                connections.retain(|_, budget| now.saturating_duration_since(budget.since) < spare);
            }
            if connections.len() >= CONNECTIONS_MAX {
                connections.clear();
            }
        }
        let fresh = || Budget { saved: 0.0, since: now };
        change(connections.entry(connection.clone()).or_insert_with(fresh))
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::id::{ConnectorId, OrgId, WorkspaceId};

    use super::*;

    fn connection(workspace: &str) -> ConnectionKey {
        ConnectionKey {
            org: OrgId::parse("acme").unwrap(),
            workspace: WorkspaceId::parse(workspace).unwrap(),
            connector: ConnectorId::parse("crm").unwrap(),
            name: None,
        }
    }

    #[test]
    fn a_vendor_that_is_down_gets_a_fifth_more_than_its_load() {
        let budget = RetryBudget::new(&Limits::default());
        let (main, now) = (connection("main"), Instant::now());
        let mut further = 0;
        for _ in 0..1000 {
            budget.note_first(&main, now);
            further += u32::from(budget.take(&main, now).is_ok());
        }
        assert!((199..=200).contains(&further), "{further}");
        assert!(budget.take(&connection("side"), now).is_err(), "each connection has its own");
    }

    #[test]
    fn a_single_run_is_tried_again_after_a_while_and_not_at_once() {
        let budget = RetryBudget::new(&Limits::default());
        let (main, start) = (connection("main"), Instant::now());
        budget.note_first(&main, start);
        let spare = Duration::from_millis(Limits::default().job_retry_spare_ms);
        assert_eq!(budget.take(&main, start), Err(spare));
        assert_eq!(budget.take(&main, start + spare), Ok(()));
        assert_eq!(budget.take(&main, start + spare), Err(spare));
    }

    #[test]
    fn a_try_that_was_not_made_changes_nothing() {
        let budget = RetryBudget::new(&Limits { job_retry_percent: 100, ..Limits::default() });
        let (main, now) = (connection("main"), Instant::now());
        for _ in 0..100 {
            budget.note_first(&main, now);
            budget.undo(&main, true, now);
        }
        assert!(budget.take(&main, now).is_err(), "nothing was saved");
        budget.note_first(&main, now);
        for _ in 0..100 {
            assert_eq!(budget.take(&main, now), Ok(()));
            budget.undo(&main, false, now);
        }
    }

    #[test]
    fn an_org_that_names_connections_without_end_takes_nothing_from_others() {
        let budget = RetryBudget::new(&Limits::default());
        let now = Instant::now();
        let theirs = ConnectionKey { org: OrgId::parse("globex").unwrap(), ..connection("main") };
        for _ in 0..100 {
            budget.note_first(&theirs, now);
        }
        for number in 0..=CONNECTIONS_MAX {
            budget.note_first(&connection(&format!("w{number}")), now);
        }
        assert!(budget.connections.lock().unwrap().len() <= CONNECTIONS_MAX);
        assert_eq!(budget.take(&theirs, now), Ok(()), "what it saved up is still there");
    }

    #[test]
    fn what_is_saved_up_is_bounded() {
        let budget = RetryBudget::new(&Limits::default());
        let (main, now) = (connection("main"), Instant::now());
        for _ in 0..10_000 {
            budget.note_first(&main, now);
        }
        let further = (0..100).filter(|_| budget.take(&main, now).is_ok()).count();
        assert_eq!(further, 10);
    }
}
