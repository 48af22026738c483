//! What one thing that was seen does to the health of a connection. Pure.

use jiff::{SignedDuration, Timestamp};
use portcullis_action::plan::ErrorClass;
use portcullis_store::{AttentionCause, ConnectionHealth, HealthAttention, HealthChange, HealthChangeKind};
use serde_json::Value;

use crate::call::run::RunEnd;

/// Calls in a row that end with class `auth`, after which the credential counts as refused: one odd answer does not.
const ROW: u32 = 3;
/// A success is written once in this time.
pub(super) const WRITTEN_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// Longest text of a third party that is kept, characters.
const MESSAGE_CHARS_MAX: usize = 300;

/// What was seen of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A call succeeded.
    Success,
    /// A call failed with an answer that is about something else than the credential.
    Answered,
    /// A call ended with class `auth`.
    Refused {
        message: String,
        is_final: bool,
    },
    TestPassed,
    /// The test was answered, and failed.
    TestFailed {
        class: String,
        message: String,
    },
    /// A token was obtained.
    TokenGot,
    /// No token can be obtained without a person.
    TokenFailed {
        reason: String,
    },
    /// A person consented.
    Consent,
}

impl Seen {
    /// What the end of a call shows; `None` if it shows nothing of the credential.
    pub(crate) fn of(end: &RunEnd) -> Option<Self> {
        match end {
            RunEnd::Succeeded(_) => Some(Self::Success),
            RunEnd::Skipped(_) => None,
            RunEnd::Failed { class, error, message, .. } => {
                let class = ErrorClass::parse(class.as_deref()?)?;
                match class {
                    ErrorClass::Auth => {
                        let is_final = error.as_ref().and_then(|error| error.get("final"));
                        Some(Self::Refused {
                            message: message.clone(),
                            is_final: is_final.and_then(Value::as_bool).unwrap_or_default(),
                        })
                    }
                    // Why: a third party that cannot be reached, or has no time, says nothing.
                    ErrorClass::Transient | ErrorClass::RateLimit | ErrorClass::Quota => None,
                    _ => Some(Self::Answered),
                }
            }
        }
    }

    /// What the end of a test shows.
    pub(crate) fn of_test(end: &RunEnd) -> Option<Self> {
        match (end, Self::of(end)?) {
            (RunEnd::Failed { class, message, .. }, _) => {
                Some(Self::TestFailed { class: class.clone().unwrap_or_default(), message: message.clone() })
            }
            _ => Some(Self::TestPassed),
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing is to be written.
    None,
    /// Something is to be written, and the state is the same.
    Noted,
    NeedsAttention,
    Recovered,
    Consent,
}

impl Change {
    pub(super) const fn is_state(self) -> bool {
        matches!(self, Self::NeedsAttention | Self::Recovered | Self::Consent)
    }
}

/// Takes up what was seen.
pub(super) fn take_up(health: &mut ConnectionHealth, seen: &Seen, now: &str) -> Change {
    match seen {
        Seen::Success | Seen::TestPassed => {
            // Why not of a token: a living one works while it cannot be renewed.
            let cleared = clear(health, |cause| cause != AttentionCause::Token, now);
            let had_row = std::mem::take(&mut health.refusals) > 0;
            let is_due = is_due(health.last_success_at.as_deref(), now);
            if *seen == Seen::Success && (cleared || had_row || is_due) {
                health.last_success_at = Some(now.to_owned());
            }
            match (cleared, had_row || (is_due && *seen == Seen::Success)) {
                (true, _) => Change::Recovered,
                (false, true) => Change::Noted,
                (false, false) => Change::None,
            }
        }
        Seen::Answered => match std::mem::take(&mut health.refusals) {
            0 => Change::None,
            _ => Change::Noted,
        },
        // Why nothing is counted any more: a call that is refused costs no write then.
        Seen::Refused { .. } if health.attention.is_some() => Change::None,
        Seen::Refused { message, is_final } => {
            health.refusals = health.refusals.saturating_add(1);
            if !is_final && health.refusals < ROW {
                return Change::Noted;
            }
            set(health, AttentionCause::Refused, ErrorClass::Auth.as_str(), message, now)
        }
        Seen::TestFailed { class, message } => set(health, AttentionCause::Test, class, message, now),
        Seen::TokenFailed { reason } => {
            set(health, AttentionCause::Token, ErrorClass::Auth.as_str(), reason, now)
        }
        Seen::TokenGot => match clear(health, |cause| cause == AttentionCause::Token, now) {
            true => Change::Recovered,
            false => Change::None,
        },
        Seen::Consent => {
            (health.attention, health.refusals) = (None, 0);
            add(health, HealthChangeKind::Consent, now);
            Change::Consent
        }
    }
}

/// Sets why it needs attention, unless it does already: since when stays as it is.
fn set(
    health: &mut ConnectionHealth,
    cause: AttentionCause,
    class: &str,
    message: &str,
    now: &str,
) -> Change {
    if health.attention.is_some() {
        return Change::None;
    }
    health.attention = Some(HealthAttention {
        cause,
        class: class.to_owned(),
        message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
        since: now.to_owned(),
    });
    health.add(HealthChange {
        at: now.to_owned(),
        kind: HealthChangeKind::NeedsAttention,
        cause: Some(cause),
        class: Some(class.to_owned()),
    });
    Change::NeedsAttention
}

/// Clears what needs attention if it is of this kind; returns whether it was.
fn clear(health: &mut ConnectionHealth, is_it: impl Fn(AttentionCause) -> bool, now: &str) -> bool {
    if !health.attention.as_ref().is_some_and(|attention| is_it(attention.cause)) {
        return false;
    }
    health.attention = None;
    add(health, HealthChangeKind::Recovered, now);
    true
}

fn add(health: &mut ConnectionHealth, kind: HealthChangeKind, now: &str) {
    health.add(HealthChange { at: now.to_owned(), kind, cause: None, class: None });
}

/// Whether a success is to be written. One from the future, of a clock that was set back, is written again.
fn is_due(last: Option<&str>, now: &str) -> bool {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    match (last.and_then(time), time(now)) {
        (Some(last), Some(now)) => !(last..last.saturating_add(WRITTEN_EVERY).unwrap_or(last)).contains(&now),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u32) -> String {
        format!("2026-01-01T00:{:02}:{:02}Z", second / 60, second % 60)
    }

    fn refused(is_final: bool) -> Seen {
        Seen::Refused { message: "no".to_owned(), is_final }
    }

    fn after(all: &[Seen]) -> (ConnectionHealth, Vec<Change>) {
        let mut health = ConnectionHealth::default();
        let changes = all.iter().zip(0..).map(|(seen, second)| take_up(&mut health, seen, &at(second)));
        let changes = changes.collect();
        (health, changes)
    }

    #[test]
    fn three_refusals_in_a_row_and_no_fewer_need_attention() {
        use Change::{NeedsAttention, None, Noted, Recovered};
        let test_failed = Seen::TestFailed { class: "permission".to_owned(), message: "no".to_owned() };
        let token_failed = Seen::TokenFailed { reason: "no".to_owned() };
        let no = || refused(false);
        for (seen, expected) in [
            (vec![no(), no()], vec![Noted, Noted]),
            (vec![no(), no(), no(), no()], vec![Noted, Noted, NeedsAttention, None]),
            (vec![no(), no(), Seen::Success, no(), no()], vec![Noted, Noted, Noted, Noted, Noted]),
            (vec![no(), no(), Seen::Answered, no(), no()], vec![Noted, Noted, Noted, Noted, Noted]),
            (vec![refused(true), Seen::Answered], vec![NeedsAttention, Noted]),
            (vec![refused(true), Seen::Success], vec![NeedsAttention, Recovered]),
            (vec![refused(true), Seen::TestPassed], vec![NeedsAttention, Recovered]),
            (vec![refused(true), Seen::TokenGot], vec![NeedsAttention, None]),
            (vec![test_failed.clone(), Seen::Success], vec![NeedsAttention, Recovered]),
            (vec![test_failed, Seen::Consent], vec![NeedsAttention, Change::Consent]),
            (vec![token_failed.clone(), Seen::Success], vec![NeedsAttention, Noted]),
            (vec![token_failed, Seen::TokenGot], vec![NeedsAttention, Recovered]),
            (vec![Seen::TestPassed, Seen::TokenGot, Seen::Answered], vec![None, None, None]),
        ] {
            assert_eq!(after(&seen).1, expected, "{seen:?}");
        }
    }

    #[test]
    fn since_when_stays_and_a_success_is_written_once_a_minute() {
        let (health, _) =
            after(&[refused(true), refused(true), Seen::TokenFailed { reason: "x".to_owned() }]);
        assert_eq!(health.attention.unwrap().since, at(0));
        let mut health = ConnectionHealth::default();
        for (second, change) in
            [(0, Change::Noted), (59, Change::None), (60, Change::Noted), (61, Change::None)]
        {
            assert_eq!(take_up(&mut health, &Seen::Success, &at(second)), change, "{second}");
        }
        assert_eq!(health.last_success_at, Some(at(60)));
        assert_eq!(take_up(&mut health, &Seen::Success, &at(5)), Change::Noted, "the clock was set back");
    }

    #[test]
    fn only_answers_say_something() {
        let failed = |class: Option<&str>, error: Option<Value>| RunEnd::Failed {
            code: portcullis_core::fault::Code::UpstreamStatus,
            message: "told".to_owned(),
            class: class.map(str::to_owned),
            upstream: None,
            retryable: false,
            error,
            retry_at: None,
        };
        let is_final = serde_json::json!({ "class": "auth", "final": true });
        for (end, expected) in [
            (failed(None, None), None),
            (failed(Some("transient"), None), None),
            (failed(Some("rate_limit"), None), None),
            (failed(Some("of a module's own"), None), None),
            (failed(Some("permission"), None), Some(Seen::Answered)),
            (failed(Some("not_found"), None), Some(Seen::Answered)),
            (failed(Some("auth"), None), Some(Seen::Refused { message: "told".to_owned(), is_final: false })),
            (
                failed(Some("auth"), Some(is_final)),
                Some(Seen::Refused { message: "told".to_owned(), is_final: true }),
            ),
        ] {
            assert_eq!(Seen::of(&end), expected);
            assert_eq!(Seen::of_test(&end).is_some(), expected.is_some());
        }
    }
}
