//! File descriptors, distributed before anything is served: callers' connections must not use up those that
//! admitted calls need for their upstream and their records, nor may idle kept connections.

use std::io;

use portcullis_core::limits::Limits;

/// For the store, the ledgers, the listener, the async runtime, name lookups.
const OWN: u64 = 128;
/// For a call, besides its caller's connection: its upstream's, and a file for a short time.
const EACH_CALL: u64 = 2;
/// The product does not start with fewer connections.
const CONNECTIONS_MIN: u64 = 16;

/// Takes as many descriptors as the system allows the process (its hard limit), and lowers
/// `pool_connections` and `api_connections` to what they are sufficient for.
///
/// # Errors
/// A text for the operator: the system allows too few to serve any caller.
pub(crate) fn share_out(limits: &mut Limits) -> Result<(), String> {
    let given = raise().map_err(|error| format!("the limit of file descriptors cannot be read: {error}"))?;
    let wanted = OWN + limits.api_connections + EACH_CALL * limits.concurrent_calls + limits.pool_connections;
    limits.pool_connections = kept(given, limits);
    let connections = connections(given, limits);
    if connections < CONNECTIONS_MIN.min(limits.api_connections) {
        return Err(format!(
            "{given} file descriptors are too few; let the process have {wanted} (LimitNOFILE of systemd, ulimit -n)"
        ));
    }
    if connections < limits.api_connections {
        tracing::warn!(
            given,
            wanted,
            connections,
            limit = limits.api_connections,
            "too few file descriptors for limits.api_connections: fewer callers are connected at once"
        );
        limits.api_connections = connections;
    }
    Ok(())
}

/// How many idle upstream connections are kept: a quarter at most. Keeping them saves time, but serving
/// callers comes first.
fn kept(given: u64, limits: &Limits) -> u64 {
    (given.saturating_sub(OWN) / 4).min(limits.pool_connections)
}

/// How many callers may be connected so that each call still has its descriptors. A connection has one call
/// at a time, so while there are fewer of them than allowed calls, they limit the calls.
fn connections(given: u64, limits: &Limits) -> u64 {
    let free = given.saturating_sub(OWN).saturating_sub(limits.pool_connections);
    let beside_all_calls = free.saturating_sub(EACH_CALL.saturating_mul(limits.concurrent_calls));
    beside_all_calls.max(free / (1 + EACH_CALL)).min(limits.api_connections)
}

/// The limit of descriptors after raising it as far as is allowed. Why raised: the soft limit is 1024 on
/// many systems for the sake of programs that use `select`.
fn raise() -> io::Result<u64> {
    let (_, hard) = rlimit::Resource::NOFILE.get()?;
    rlimit::increase_nofile_limit(hard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_leave_the_descriptors_that_their_calls_need() {
        let asked = Limits {
            api_connections: 10_000,
            concurrent_calls: 1000,
            pool_connections: 1000,
            ..Limits::default()
        };
        for (given, expected, idle) in [
            (u64::MAX, 10_000, 1000),
            (OWN + 10_000 + 2000 + 1000, 10_000, 1000),
            (OWN + 10_000 + 2000 + 999, 9_999, 1000),
            (OWN + 4000, 1000, 1000),
            (OWN + 3996, 999, 999),
            (OWN + 400, 100, 100),
            (OWN + 4, 1, 1),
            (OWN + 3, 1, 0),
            (OWN, 0, 0),
            (0, 0, 0),
        ] {
            let limits = Limits { pool_connections: kept(given, &asked), ..asked.clone() };
            let connections = connections(given, &limits);
            assert_eq!((connections, limits.pool_connections), (expected, idle), "of {given}");
            let calls = connections.min(limits.concurrent_calls);
            let used = connections + EACH_CALL * calls + limits.pool_connections;
            assert!(used <= given.saturating_sub(OWN), "of {given}");
        }
    }
}
