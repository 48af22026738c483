//! When a failed call is tried again, and after how long.
//!
//! Pure: the host asks, waits with no guest alive, and calls again. What may have been carried out is
//! never repeated, unless repeating does no harm.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::plan::ErrorAction;

mod wait;

pub use wait::wait_of;

/// How a wait is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WaitKind {
    /// Seconds or an HTTP date (RFC 9110 section 10.2.3), RFC 3339 or a duration, told apart by look; a
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
    /// Its name, lower case.
    pub name: String,
    /// How it is written.
    pub kind: WaitKind,
    /// Only when this other header, lower case, is zero.
    pub when_remaining_zero: Option<String>,
}

/// A wait written in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitBody {
    /// JSON pointer of the text or number.
    pub path: String,
    /// Regular expression whose first group is the wait.
    pub pattern: Option<String>,
    /// How it is written.
    pub kind: WaitKind,
}

/// The retry rules of one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPlan {
    /// Most tries, the first included.
    pub max_attempts: u8,
    /// First wait, milliseconds; doubled each time, full jitter.
    pub base_ms: u32,
    /// Longest single wait, milliseconds.
    pub max_wait_ms: u32,
    /// Statuses to retry.
    pub on_status: Vec<u16>,
    /// Whether a failed connection is retried.
    pub on_network: bool,
    /// Also repeat what may have been carried out.
    pub allow_non_idempotent: bool,
    /// The vendor promises that a 429 or 503 with a wait was not carried out.
    pub rate_limited_not_executed: bool,
    /// Headers that say how long to wait, tried in order.
    pub headers: Vec<WaitHeader>,
    /// A wait written in the body.
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

/// A try that failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tried<'a> {
    /// Which try it was; the first is 1.
    pub attempt: u8,
    /// How it failed.
    pub failure: Failure<'a>,
    /// The action may be repeated without changing its effect.
    pub idempotent: bool,
    /// An idempotency key went with it.
    pub keyed: bool,
    /// The token was renewed for this call already.
    pub refreshed: bool,
    /// A random number of 0 to 1, from the caller.
    pub jitter: f64,
    /// The present, milliseconds since 1970.
    pub now_ms: i64,
}

/// How a try failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Failure<'a> {
    /// There is no answer.
    Network {
        /// Bytes of the request may have arrived.
        sent: bool,
    },
    /// The answer was an error.
    Upstream {
        /// Its status.
        status: u16,
        /// What is to be done, as [`crate::judge::UpstreamError`] has it.
        action: ErrorAction,
        /// A rule of the definition said so; otherwise the status decides.
        ruled: bool,
        /// Headers, names in lower case.
        headers: &'a Map<String, Value>,
        /// Body.
        body: &'a Value,
    },
}

/// What is done after a failed try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: it failed.
    Stop,
    /// It is tried again.
    Again {
        /// After this wait.
        after: Duration,
    },
    /// The upstream asks for more than the longest wait: it failed, and may be tried again then.
    TooLong {
        /// The wait that it asks for.
        wait: Duration,
    },
    /// The token is renewed and it is tried again at once.
    RefreshThenAgain,
}

/// What is done after a failed try.
///
/// A request that may have been carried out is repeated only when that does no harm: the action is
/// idempotent, a key went with it, the definition allows it, or the vendor promises that a refusal
/// for the rate was not carried out. Renewing the token is no try of `max_attempts`: it happens once.
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

/// Full jitter below a bound that doubles with each try; never less than what the upstream asks for,
/// to which a tenth at most is added, so that callers who were told the same do not come together.
fn backoff(plan: &RetryPlan, tried: &Tried<'_>, asked: Duration) -> Duration {
    let jitter = if tried.jitter.is_finite() { tried.jitter.clamp(0.0, 1.0) } else { 0.0 };
    let doublings = u32::from(tried.attempt.saturating_sub(1)).min(30);
    let bound = Duration::from_millis(u64::from(plan.base_ms) << doublings).min(max_wait(plan));
    let spread = asked.saturating_add(asked.mul_f64(jitter / 10.0)).min(max_wait(plan));
    spread.max(bound.mul_f64(jitter))
}

#[cfg(test)]
mod tests;
