//! What is told: types of events, their bodies, and which endpoints want them.
//!
//! A body has ids, times and our own words: no secret, and nothing of a third party's.

use portcullis_core::id::{ActionId, AutomationId, ConnectionName, OrgId, RunId, WebhookId, WorkspaceId};
use portcullis_store::{
    EventBroadcast, PLATFORM_SCOPE, PendingDelivery, StoreError, WebhookDelivery, WebhookDue,
    WebhookEndpoint, Webhooks, Writes, ms_part,
};
use serde::Serialize;

use super::turn;
use crate::clock;
use crate::resources::Resources;

macro_rules! event_types {
    ($($variant:ident $text:literal;)*) => {
        /// The type of an event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum EventType { $($variant),* }

        impl EventType {
            /// Every type.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word on the wire.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

event_types! {
    ConnectionConnected "connection.connected";
    ConnectionNeedsAttention "connection.needs_attention";
    ConnectionRemoved "connection.removed";
    RunDead "run.dead";
    RunSucceeded "run.succeeded";
    RunFailed "run.failed";
    CallRefused "call.refused";
    ConnectorChanged "connector.changed";
    PolicyChanged "policy.changed";
}

impl EventType {
    /// The type of the first delivery, which nobody asks for.
    pub(crate) const PING: &'static str = "webhook.ping";

    /// Whether no pattern asks for it: there is one for every run.
    const fn must_be_named(self) -> bool {
        matches!(self, Self::RunSucceeded | Self::RunFailed)
    }

    /// Whether an entry of `events` asks for it.
    fn is_asked_by(self, entry: &str) -> bool {
        match entry.strip_suffix('*') {
            None => entry == self.as_str(),
            Some(_) if self.must_be_named() => false,
            Some("") => true,
            Some(group) => group.ends_with('.') && self.as_str().starts_with(group),
        }
    }
}

/// Whether an entry of `events` asks for anything.
pub(super) fn is_pattern(entry: &str) -> bool {
    EventType::ALL.iter().any(|kind| kind.is_asked_by(entry))
}

/// What an event is about. Each type has some of these members.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct EventData {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) org: Option<OrgId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) workspace: Option<WorkspaceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connector_id: Option<String>,
    /// A named connection; absent for the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connection: Option<ConnectionName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) action_id: Option<ActionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) automation_id: Option<AutomationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run_id: Option<RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) webhook: Option<WebhookId>,
    /// What brought it about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<String>,
    /// Class of an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    /// What was done to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) change: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) enabled: Option<bool>,
    /// Which settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) settings: Option<&'static str>,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// `None` for a ping.
    kind: Option<EventType>,
    /// The org whose endpoints are told, beside the platform's.
    org: Option<OrgId>,
    at_ms: u64,
    data: EventData,
}

#[derive(Serialize)]
struct Body<'e> {
    r#type: &'e str,
    timestamp: String,
    data: &'e EventData,
}

impl Event {
    /// Something that happened now.
    pub(crate) fn new(kind: EventType, org: Option<OrgId>, data: EventData) -> Self {
        Self { kind: Some(kind), org, at_ms: clock::now_ms(), data }
    }

    /// The same at another time.
    pub(super) fn at(self, at_ms: u64) -> Self {
        Self { at_ms, ..self }
    }

    /// What asks an endpoint whether it is there.
    pub(super) fn ping(webhook: &WebhookId) -> Self {
        let data = EventData { webhook: Some(webhook.clone()), ..EventData::default() };
        Self { kind: None, org: None, at_ms: clock::now_ms(), data }
    }

    /// The same with more data.
    pub(crate) fn with(mut self, add: impl FnOnce(&mut EventData)) -> Self {
        add(&mut self.data);
        self
    }

    pub(super) fn type_text(&self) -> &'static str {
        self.kind.map_or(EventType::PING, EventType::as_str)
    }

    /// The text that is sent and signed.
    pub(super) fn body(&self) -> String {
        let body = Body { r#type: self.type_text(), timestamp: clock::of_ms(self.at_ms), data: &self.data };
        // Why never empty: all members are texts, numbers and booleans.
        serde_json::to_string(&body).unwrap_or_default()
    }
}

/// Whether an endpoint is to be told of a type.
pub(super) fn is_wanted(endpoint: &WebhookEndpoint, kind: EventType) -> bool {
    endpoint.enabled && endpoint.events.iter().any(|entry| kind.is_asked_by(entry))
}

/// Whether some endpoint of this org or of the platform wants to be told of a type.
///
/// # Errors
/// Those of the store.
pub(crate) async fn wants(resources: &Resources, org: &OrgId, kind: EventType) -> Result<bool, StoreError> {
    for scope in [org.as_str(), PLATFORM_SCOPE] {
        let found = resources.records.get_shared::<Webhooks>(&[scope]).await?;
        if found.is_some_and(|(hooks, _)| hooks.endpoints.iter().any(|endpoint| is_wanted(endpoint, kind))) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Adds to the writes of a change one delivery for each endpoint that wants to be told of it: both are stored, or
/// neither. At most three writes for each webhook of two scopes.
///
/// # Errors
/// Those of the store.
pub(crate) async fn tell(resources: &Resources, writes: Writes, event: &Event) -> Result<Writes, StoreError> {
    told(resources, writes, event).await.map(|(writes, _)| writes)
}

/// As [`tell`]; returns also the number of deliveries.
pub(super) async fn told(
    resources: &Resources,
    mut writes: Writes,
    event: &Event,
) -> Result<(Writes, usize), StoreError> {
    let Some(kind) = event.kind else { return Ok((writes, 0)) };
    let mut count = 0;
    let mut body = None;
    let id = clock::fresh_text("evt");
    for scope in event.org.iter().map(OrgId::as_str).chain([PLATFORM_SCOPE]) {
        let Some((hooks, _)) = resources.records.get_shared::<Webhooks>(&[scope]).await? else { continue };
        // Why the time: of what happened before it was asked for nobody is told.
        let wanting =
            |endpoint: &&WebhookEndpoint| is_wanted(endpoint, kind) && event.at_ms >= endpoint.since_ms;
        for endpoint in hooks.endpoints.iter().filter(wanting) {
            let body = body.get_or_insert_with(|| event.body());
            writes = add(writes, scope, endpoint, &id, kind.as_str(), body);
            count += 1;
        }
    }
    Ok((writes, count))
}

/// Adds a delivery that is due now.
pub(super) fn add(
    writes: Writes,
    scope: &str,
    endpoint: &WebhookEndpoint,
    id: &str,
    kind: &str,
    body: &str,
) -> Writes {
    let now_ms = clock::now_ms();
    let delivery = WebhookDelivery {
        r#type: kind.to_owned(),
        body: body.to_owned(),
        created_ms: now_ms,
        tries: 0,
        tried_ms: None,
        status: None,
        code: None,
    };
    let pending = PendingDelivery { delivery, due_ms: now_ms, since_ms: now_ms, holder: None };
    let instance = endpoint.instance.as_str();
    let writes = writes
        .put(&[scope, instance, id], &pending)
        .put(&[scope, instance, &ms_part(now_ms), id], &WebhookDue {});
    turn(writes, now_ms, scope, instance)
}

/// Adds to the writes of a change that all scopes are told of it; a worker hands it out.
///
/// # Errors
/// Those of the store.
pub(crate) async fn broadcast(
    resources: &Resources,
    writes: Writes,
    event: &Event,
    platform_only: bool,
) -> Result<Writes, StoreError> {
    if !resources.records.has_any::<Webhooks>(&[]).await? {
        return Ok(writes);
    }
    let told = EventBroadcast {
        r#type: event.type_text().to_owned(),
        body: event.body(),
        after: None,
        platform_only,
    };
    Ok(writes.put(&[&clock::fresh_text("evt")], &told))
}

/// The type of a broadcast.
pub(super) fn type_of(text: &str) -> Option<EventType> {
    EventType::ALL.iter().copied().find(|kind| kind.as_str() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_ask_for_their_group_and_runs_that_succeed_must_be_named() {
        use EventType::{ConnectionConnected, ConnectionNeedsAttention, ConnectionRemoved};
        use EventType::{RunDead, RunFailed, RunSucceeded};
        let asked = |entry: &str| -> Vec<EventType> {
            EventType::ALL.iter().copied().filter(|kind| kind.is_asked_by(entry)).collect()
        };
        assert_eq!(asked("connection.*"), [ConnectionConnected, ConnectionNeedsAttention, ConnectionRemoved]);
        assert_eq!(asked("run.*"), [RunDead]);
        assert_eq!(asked("run.succeeded"), [RunSucceeded]);
        assert_eq!(asked("run.failed"), [RunFailed]);
        assert_eq!(asked("*").len(), EventType::ALL.len() - 2);
        for none in ["", "connection", "connection.", "conn*", "con.*", "**", "*.connected", "webhook.ping"] {
            assert!(!is_pattern(none), "{none:?}");
        }
    }

    #[test]
    fn a_body_has_type_time_and_what_is_known() {
        let data =
            EventData { count: Some(2), code: Some("host_not_in_org".to_owned()), ..EventData::default() };
        let event = Event::new(EventType::CallRefused, None, data).at(0);
        assert_eq!(
            event.body(),
            r#"{"type":"call.refused","timestamp":"1970-01-01T00:00:00.000Z","data":{"code":"host_not_in_org","count":2}}"#
        );
    }
}
