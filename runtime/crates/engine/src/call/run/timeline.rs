//! The attempts of a run in its record: when each began, where it went, and how it ended.

use std::time::Instant;

use portcullis_core::fault::Code;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RunEnd;
use crate::clock;

/// Attempts that a record keeps of each end. Why so few: each has up to 500 bytes of a record of 64 KiB.
const ATTEMPTS_OF_EACH_END: usize = 10;

/// The attempts of a run, as far as a record keeps them.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    attempts: Vec<RunAttempt>,
    /// How many there were.
    made: u64,
    has_sent: bool,
    last_ended: Option<Instant>,
}

/// One attempt.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RunAttempt {
    /// Which attempt it was, from 1.
    n: u64,
    /// When it began, RFC 3339.
    started_at: String,
    /// How long the run waited since the attempt before, milliseconds: for the retry rules, a token, a budget.
    wait_ms: u64,
    /// How long it took, milliseconds.
    took_ms: u64,
    /// Requests that were answered.
    requests: u64,
    /// Where its last request went, or was to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    /// Status of the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Why it was refused or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The ledger's entry of its last request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ledger_id: Option<String>,
}

/// An attempt that was begun.
pub(crate) struct Begun {
    at: Instant,
    started_at: String,
}

/// What the gate knows of an attempt.
pub(crate) struct Outgoing {
    pub(crate) requests: u64,
    pub(crate) origin: String,
    pub(crate) status: Option<u16>,
    pub(crate) ledger_id: Option<String>,
}

impl Begun {
    pub(crate) fn now() -> Self {
        Self { at: Instant::now(), started_at: clock::now() }
    }
}

impl RunAttempt {
    /// Where its last request went, or was to go: a host, perhaps with a port.
    pub(crate) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }
}

impl Timeline {
    /// Whether a request of some attempt may have left.
    pub(crate) fn has_sent(&self) -> bool {
        self.has_sent
    }

    /// Status of the last answer, if the last attempt had one.
    pub(crate) fn last_status(&self) -> Option<u16> {
        self.attempts.last()?.status
    }

    /// Notes an attempt that has ended.
    pub(crate) fn note(&mut self, begun: Begun, outgoing: Outgoing, end: &RunEnd) {
        let ended = Instant::now();
        let ms = |from: Instant, to: Instant| {
            u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
        };
        self.made += 1;
        // Why the entry: it is there before a request leaves, and whether that did is not always known.
        self.has_sent |= outgoing.requests > 0 || outgoing.ledger_id.is_some();
        if self.attempts.len() >= 2 * ATTEMPTS_OF_EACH_END {
            self.attempts.remove(ATTEMPTS_OF_EACH_END);
        }
        let host = outgoing.origin.strip_prefix("https://").filter(|host| !host.is_empty());
        self.attempts.push(RunAttempt {
            n: self.made,
            wait_ms: self.last_ended.map_or(0, |last| ms(last, begun.at)),
            took_ms: ms(begun.at, ended),
            started_at: begun.started_at,
            requests: outgoing.requests,
            host: host.map(str::to_owned),
            status: outgoing.status,
            error: code_of(end).map(|code| code.as_str().to_owned()),
            ledger_id: outgoing.ledger_id,
        });
        self.last_ended = Some(ended);
    }

    pub(crate) fn attempts(&self) -> &[RunAttempt] {
        &self.attempts
    }

    /// How many attempts in the middle are not kept.
    pub(crate) fn omitted(&self) -> u64 {
        self.made - self.attempts.len() as u64
    }
}

const fn code_of(end: &RunEnd) -> Option<Code> {
    match end {
        RunEnd::Failed { code, .. } => Some(*code),
        RunEnd::Succeeded(_) | RunEnd::Skipped(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(n: u64) -> Outgoing {
        let ledger_id = Some(format!("out_{n}"));
        Outgoing { requests: 1, origin: "https://api.saas.com".to_owned(), status: Some(503), ledger_id }
    }

    #[test]
    fn the_first_and_the_last_attempts_are_kept_and_the_others_counted() {
        let mut timeline = Timeline::default();
        for n in 1..=50 {
            timeline.note(Begun::now(), outgoing(n), &RunEnd::plain(Code::UpstreamStatus));
        }
        let kept: Vec<u64> = timeline.attempts().iter().map(|attempt| attempt.n).collect();
        assert_eq!(kept, (1..=10).chain(41..=50).collect::<Vec<_>>());
        assert_eq!(timeline.omitted(), 30);
        let last = timeline.attempts().last().unwrap();
        assert_eq!(
            (last.host.as_deref(), last.error.as_deref()),
            (Some("api.saas.com"), Some("upstream_status"))
        );
        assert_eq!((last.status, last.ledger_id.as_deref()), (Some(503), Some("out_50")));
        assert_eq!(timeline.attempts()[0].wait_ms, 0, "nothing was before the first");
    }

    #[test]
    fn the_longest_attempts_leave_room_in_a_record() {
        let mut timeline = Timeline::default();
        for _ in 0..50 {
            let origin = format!("https://{}:65535", "a".repeat(253));
            let ledger_id = Some("o".repeat(63));
            let outgoing = Outgoing { requests: u64::MAX, origin, status: Some(599), ledger_id };
            timeline.note(Begun::now(), outgoing, &RunEnd::plain(Code::ResponseUnreadable));
        }
        assert!(serde_json::to_string(timeline.attempts()).unwrap().len() < 16 * 1024);
    }
}
