//! Documents of webhooks: endpoints, what is to be delivered to them, and what became of it.
//!
//! A scope is an org, or [`PLATFORM_SCOPE`]. A delivery is pending or kept: pending ones stand in the order of their next
//! tries at their endpoint, and the endpoint itself stands in an order of time by its *turns*, so that one endpoint with
//! many deliveries is one entry there. Each step replaces the record by which it was decided, so that of several processes
//! one takes it. A turn is a hint and may be there in vain; a pending delivery without a later turn may not.

use portcullis_core::id::{OrgId, WebhookId};
use serde::{Deserialize, Serialize};

use crate::records::Document;
use crate::vault::{ScopeBinding, ScopeSecret};

/// The scope of the platform. No org has it: ids of orgs have no capitals.
pub const PLATFORM_SCOPE: &str = "PLATFORM";

/// Digits of milliseconds in keys, so that they sort by time until the year 5138.
const DIGITS: usize = 14;
/// The latest time of an order.
const LATEST_MS: u64 = 99_999_999_999_999;

/// The part of a key that stands for a time, milliseconds since 1970.
#[must_use]
pub fn ms_part(ms: u64) -> String {
    format!("{:0width$}", ms.min(LATEST_MS), width = DIGITS)
}

/// The time in such a part; `None` for any other text.
#[must_use]
pub fn ms_of_part(part: &str) -> Option<u64> {
    part.parse().ok().filter(|_| part.len() == DIGITS && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The endpoints of a scope, which are few. Parts: `[scope]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    /// In the order of their ids.
    pub endpoints: Vec<WebhookEndpoint>,
}

impl Document for Webhooks {
    const KIND: &'static str = "webhooks";
}

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookEndpoint {
    pub id: WebhookId,
    /// Never used again, unlike the id: deliveries belong to it.
    pub instance: String,
    pub url: String,
    /// Types of events, or patterns of them.
    pub events: Vec<String>,
    pub enabled: bool,
    /// What happened before this time is not told, milliseconds since 1970: nobody had asked for it.
    pub since_ms: u64,
    pub secret: WebhookSecret,
    /// The secret before, which signs, too, for some time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_secret: Option<WebhookSecret>,
    /// When it was made and last changed, RFC 3339.
    pub created_at: String,
    pub updated_at: String,
}

/// A secret of an endpoint, sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSecret {
    /// What it is sealed for.
    pub name: String,
    pub sealed: ScopeSecret,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// Until when it signs, RFC 3339; for ever if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// What a webhook's secret is wrapped for.
#[must_use]
pub const fn secret_binding<'a>(scope: &'a str, name: &'a str) -> ScopeBinding<'a> {
    ScopeBinding { scope, purpose: "webhook", name }
}

/// One event for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookDelivery {
    /// Type of the event.
    pub r#type: String,
    /// The body, as it is sent and signed.
    pub body: String,
    /// When it was made, milliseconds since 1970.
    pub created_ms: u64,
    /// Tries that were begun.
    pub tries: u32,
    /// When it was last tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_ms: Option<u64>,
    /// Status of the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why the last try failed, or why it is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// A delivery that is not at its end. Parts: `[scope, instance, delivery id]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingDelivery {
    pub delivery: WebhookDelivery,
    /// When it is tried next, which is in the key of its [`WebhookDue`]; while it is tried, the end of the lease.
    pub due_ms: u64,
    /// From when on its time counts, milliseconds since 1970: it was made, or sent again.
    pub since_ms: u64,
    /// The process that tries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
}

impl Document for PendingDelivery {
    const KIND: &'static str = "webhook_pending";
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryOutcome {
    /// The endpoint took it.
    Delivered,
    /// It was given up.
    Dead,
}

/// A delivery at its end. Parts: `[scope, instance, delivery id]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptDelivery {
    pub delivery: WebhookDelivery,
    pub outcome: DeliveryOutcome,
    /// When it ended, milliseconds since 1970.
    pub ended_ms: u64,
}

impl Document for KeptDelivery {
    const KIND: &'static str = "webhook_kept";
}

/// When a pending delivery is tried. Parts: `[scope, instance, <milliseconds>, delivery id]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookDue {}

impl Document for WebhookDue {
    const KIND: &'static str = "webhook_due";
}

/// When an endpoint is looked at. Parts: `[<milliseconds>, scope, instance]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookTurn {}

impl Document for WebhookTurn {
    const KIND: &'static str = "webhook_turn";
}

/// An event for all scopes, on its way to them. Parts: `[event id]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventBroadcast {
    pub r#type: String,
    pub body: String,
    /// The last scope that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Whether only the platform is told.
    #[serde(default)]
    pub platform_only: bool,
}

impl Document for EventBroadcast {
    const KIND: &'static str = "event_broadcast";
}

/// How far the ends of an org's runs were looked at. Parts: `[org]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunsTold {
    pub org: OrgId,
    /// Number of the last end in the org's outbox.
    pub through: u64,
}

impl Document for RunsTold {
    const KIND: &'static str = "runs_told";
}

/// When refused calls were last told of. Parts: `[org, connector_id, code]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusalsTold {
    /// Milliseconds since 1970.
    pub at_ms: u64,
}

impl Document for RefusalsTold {
    const KIND: &'static str = "refusals_told";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    #[test]
    fn times_in_keys_sort_and_are_read_again() {
        assert!(ms_part(999) < ms_part(1_795_343_400_250));
        assert_eq!(ms_of_part(&ms_part(1_795_343_400_250)), Some(1_795_343_400_250));
        assert_eq!(ms_of_part(&ms_part(u64::MAX)), Some(LATEST_MS));
        for other in ["", "1", "+0000000000001", "0000000000000a"] {
            assert_eq!(ms_of_part(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_longest_keys_fit() {
        let (org, instance, id) =
            ("a".repeat(63), format!("hook_{}", "0".repeat(32)), format!("evt_{}", "0".repeat(32)));
        assert!(Key::of::<WebhookDue>(&[&org, &instance, &ms_part(1), &id]).is_ok());
        assert!(Key::of::<WebhookTurn>(&[&ms_part(1), PLATFORM_SCOPE, &instance]).is_ok());
        assert!(Key::of::<RefusalsTold>(&[&org, &org, "host_not_in_connector"]).is_ok());
    }
}
