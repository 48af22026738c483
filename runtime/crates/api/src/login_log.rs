//! Lines of failed logins: so many a second, so that whoever tries tokens does not push everything else out of the log.
//! The counter of the metrics has all of them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use portcullis_core::sync::lock;
use portcullis_engine::api_token::LoginFailure;

/// The time for which lines are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// The address of the connection, which may be a proxy's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The lines of the second that runs.
pub(crate) struct LoginLog {
    lines_max: u64,
    second: Mutex<Second>,
}

struct Second {
    began: Instant,
    lines: u64,
    /// Lines that were left out since the last one.
    omitted: u64,
}

impl LoginLog {
    pub(crate) fn new(lines_max: u64) -> Self {
        Self { lines_max, second: Mutex::new(Second { began: Instant::now(), lines: 0, omitted: 0 }) }
    }

    /// Writes the line of a failed login, unless there were enough in this second.
    pub(crate) fn note(&self, reason: LoginFailure, source: Option<IpAddr>, route: &str, request_id: &str) {
        let Some(omitted) = self.take(Instant::now()) else { return };
        tracing::warn!(
            target: "login",
            reason = reason.as_str(),
            peer = source.map(tracing::field::display),
            route,
            request_id,
            omitted,
            "login_failed"
        );
    }

    /// Whether there is a line for one more, and how many had none since the last.
    fn take(&self, now: Instant) -> Option<u64> {
        let mut second = lock(&self.second);
        if now.saturating_duration_since(second.began) >= WINDOW {
            (second.began, second.lines) = (now, 0);
        }
        if second.lines >= self.lines_max {
            second.omitted += 1;
            return None;
        }
        second.lines += 1;
        Some(std::mem::take(&mut second.omitted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_has_a_few_lines_a_second_and_the_next_one_says_how_many_had_none() {
        let log = LoginLog::new(3);
        let now = Instant::now();
        let lines: Vec<_> = (0..100).map(|_| log.take(now)).collect();
        assert_eq!(lines.iter().flatten().count(), 3);
        assert_eq!(log.take(now + WINDOW), Some(97));
        assert_eq!(log.take(now + WINDOW), Some(0));
    }
}
