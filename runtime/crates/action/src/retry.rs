//! Whether and when a failed call is retried.
//!
//! Pure: the host asks, waits without a guest instance, and calls again. A request that may have been carried out is
//! never repeated, unless a repeat does no harm.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::pattern::Pattern;
use crate::plan::ErrorAction;

mod wait;

pub use wait::wait_of;

/// Format of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WaitKind {
    /// Seconds or an HTTP date (RFC 9110 section 10.2.3), RFC 3339 or a duration, distinguished by form; a
    /// number above 10⁹ is a point in time in seconds, above 10¹² in milliseconds.
    #[default]
    Auto,
    /// Seconds from now; may have a fraction.
    Seconds,
    /// A point in time: seconds since 1970.
    EpochS,
    /// A point in time: milliseconds since 1970.
    EpochMs,
    /// A point in time (RFC 9110 section 5.6.7).
    HttpDate,
    /// A point in time (RFC 3339).
    Iso8601,
    /// `6m0s`, `1.5s`, `200ms`.
    Duration,
}

/// A header that says how long to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitHeader {
    pub name: String,
    pub kind: WaitKind,
    /// Only when this other header, lower case, is zero.
    pub when_remaining_zero: Option<String>,
}

/// A wait given in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitBody {
    /// JSON pointer to the text or number.
    pub path: String,
    /// Regular expression whose first group is the wait.
    pub pattern: Option<Pattern>,
    pub kind: WaitKind,
}

/// The retry rules of one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPlan {
    /// Maximum attempts, including the first.
    pub max_attempts: u8,
    /// First wait, milliseconds; doubled each time, full jitter.
    pub base_ms: u32,
    /// Longest single wait, milliseconds.
    pub max_wait_ms: u32,
    /// Statuses to retry.
    pub on_status: Vec<u16>,
    /// Whether a failed connection is retried.
    pub on_network: bool,
    /// Also retry requests that may have been carried out.
    pub allow_non_idempotent: bool,
    /// The vendor guarantees that a request answered with 429 or 503 and a wait was not carried out.
    pub rate_limited_not_executed: bool,
    /// Headers that say how long to wait, tried in order.
    pub headers: Vec<WaitHeader>,
    /// A wait given in the body.
    pub body: Option<WaitBody>,
}

impl Default for RetryPlan {
    fn default() -> Self {
        let header = |name: &str| WaitHeader {
            name: name.to_owned(),
            kind: WaitKind::Auto,
            when_remaining_zero: None,
        };
        Self {
            max_attempts: 3,
            base_ms: 500,
            max_wait_ms: 30_000,
            on_status: vec![408, 429, 502, 503, 504],
            on_network: true,
            allow_non_idempotent: false,
            rate_limited_not_executed: false,
            headers: vec![header("retry-after")],
            body: None,
        }
    }
}

/// An attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tried<'a> {
    /// Number of the attempt; the first is 1.
    pub attempt: u8,
    pub failure: Failure<'a>,
    /// Whether the action may be repeated without changing its effect.
    pub idempotent: bool,
    /// Whether an idempotency key was sent.
    pub keyed: bool,
    /// Whether the token was renewed for this call already.
    pub refreshed: bool,
    /// A random number from 0 to 1, from the caller.
    pub jitter: f64,
    /// Current time, milliseconds since 1970.
    pub now_ms: i64,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Failure<'a> {
    /// There is no answer.
    Network {
        /// Whether bytes of the request may have arrived.
        sent: bool,
    },
    /// The answer was an error.
    Upstream {
        status: u16,
        /// The reaction, from [`crate::judge::UpstreamError`].
        action: ErrorAction,
        /// Whether a rule of the definition decided; otherwise the status does.
        ruled: bool,
        /// Headers, names in lower case.
        headers: &'a Map<String, Value>,
        body: &'a Value,
    },
}

/// What is done after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The call has failed.
    Stop,
    /// It is retried.
    Again {
        /// After this wait.
        after: Duration,
    },
    /// The upstream asks for more than the longest wait: the call has failed, and may be retried after the wait.
    TooLong {
        /// The wait that the upstream asks for.
        wait: Duration,
    },
    /// The token is renewed and the call is retried at once.
    RefreshThenAgain,
}

/// What is done after a failed attempt.
///
/// A request that may have been carried out is repeated only if that does no harm: the action is
/// idempotent, a key was sent, the definition allows it, or the vendor guarantees that a rate-limited
/// request was not carried out. Renewing the token does not count towards `max_attempts`: it happens once.
#[must_use]
pub fn decide(plan: &RetryPlan, tried: &Tried<'_>) -> Decision {
    let harmless = tried.idempotent || tried.keyed || plan.allow_non_idempotent;
    let (repeatable, wait) = match tried.failure {
        Failure::Network { sent } => (plan.on_network && (harmless || !sent), None),
        Failure::Upstream { action: ErrorAction::RefreshRetry, .. } => {
            // Why always harmless: a request whose token was refused was not carried out.
            return if tried.refreshed { Decision::Stop } else { Decision::RefreshThenAgain };
        }
        Failure::Upstream { status, action, ruled, headers, body } => {
            let wanted = if ruled { action == ErrorAction::Retry } else { plan.on_status.contains(&status) };
            let wait = wait_of(plan, headers, body, tried.now_ms);
            let refused = status == 429 || (status == 503 && wait.is_some());
            (wanted && (harmless || (plan.rate_limited_not_executed && refused)), wait)
        }
    };
    if !repeatable || tried.attempt >= plan.max_attempts {
        return Decision::Stop;
    }
    match wait {
        Some(wait) if wait > max_wait(plan) => Decision::TooLong { wait },
        _ => Decision::Again { after: backoff(plan, tried, wait.unwrap_or_default()) },
    }
}

fn max_wait(plan: &RetryPlan) -> Duration {
    Duration::from_millis(plan.max_wait_ms.into())
}

/// Full jitter below a bound that doubles with each attempt; never less than what the upstream asks for,
/// to which up to a tenth is added, so that callers with the same answer do not return at the same time.
fn backoff(plan: &RetryPlan, tried: &Tried<'_>, asked: Duration) -> Duration {
    let jitter = if tried.jitter.is_finite() { tried.jitter.clamp(0.0, 1.0) } else { 0.0 };
    let doublings = u32::from(tried.attempt.saturating_sub(1)).min(30);
    let bound = Duration::from_millis(u64::from(plan.base_ms) << doublings).min(max_wait(plan));
    let spread = asked.saturating_add(asked.mul_f64(jitter / 10.0)).min(max_wait(plan));
    spread.max(bound.mul_f64(jitter))
}

#[cfg(test)]
mod tests;
