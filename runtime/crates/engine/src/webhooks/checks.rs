//! What a webhook must be before it is saved: a URL that may be sent to, events that exist, an endpoint that answers.

use portcullis_core::fault::Code;
use portcullis_core::id::OrgId;
use portcullis_core::target::{DEFAULT_PORT, Target};
use portcullis_core::violation::{Violation, Violations, nearest};
use portcullis_store::{OrgRecord, WebhookEndpoint, Webhooks};

use super::events::{EventType, is_pattern};
use super::send::{Message, send};
use super::{PLATFORM_LEDGER, WebhookScope, WebhookWish};
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;

/// Entries of `events`; there are fewer types than that.
const EVENTS_MAX: usize = 20;
const AT_URL: &str = "/url";

/// Checks what needs no network; returns where the URL leads.
pub(super) fn check(engine: &Engine, wish: &WebhookWish) -> Result<Target, Error> {
    let mut violations = Violations::default();
    let target = target(&wish.url, engine.limits().url_bytes);
    if let Err(violation) = &target {
        violations.push(violation.clone());
    }
    if wish.events.is_empty() {
        let message = "names no event; \"connection.*\" is every change of a connection";
        violations.push(Violation::new("/events", "too_few", message));
    }
    if wish.events.len() > EVENTS_MAX {
        violations.push(Violation::new("/events", "too_many", format!("has more than {EVENTS_MAX} entries")));
    }
    for (place, entry) in
        wish.events.iter().take(EVENTS_MAX).enumerate().filter(|(_, entry)| !is_pattern(entry))
    {
        let near = nearest(entry, EventType::ALL.iter().map(|kind| kind.as_str()));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
        let known: Vec<&str> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
        let message = format!(
            "is no type of event and no pattern such as connection.*; there are {}{hint}",
            known.join(", ")
        );
        violations.push(Violation::new(format!("/events/{place}"), "unknown_event", message));
    }
    match target {
        Ok(target) if violations.is_empty() => Ok(target),
        _ => Err(Error::violations(Code::ValidationFailed, violations.into_vec())),
    }
}

/// Where a URL leads, if a delivery may go there as far as its text says.
pub(super) fn target(url: &str, bytes_max: u64) -> Result<Target, Violation> {
    let target = Target::parse(url.as_bytes(), bytes_max)
        .map_err(|code| Violation::new(AT_URL, code.as_str(), code.title()))?;
    if target.port() != DEFAULT_PORT {
        let message = "must use port 443; no other may be sent to";
        return Err(Violation::new(AT_URL, Code::PortNotAllowed.as_str(), message));
    }
    Ok(target)
}

/// Whether there is room for one webhook more.
pub(super) fn has_room(engine: &Engine, hooks: &Webhooks) -> Result<(), Error> {
    let most = engine.limits().webhooks;
    if (hooks.endpoints.len() as u64) < most {
        return Ok(());
    }
    Err(Error::violation(
        "",
        "too_many",
        format!("there are {most} webhooks, which is the limit (limits.webhooks)"),
    ))
}

/// Whether the platform's deliveries have a ledger of their own.
pub(super) async fn platform_ledger_is_free(engine: &Engine, scope: &WebhookScope) -> Result<(), Error> {
    if *scope != WebhookScope::Platform {
        return Ok(());
    }
    let org = OrgId::parse(PLATFORM_LEDGER)?;
    match engine.resources.records.get_shared::<OrgRecord>(&[org.as_str()]).await? {
        None => Ok(()),
        Some(_) => {
            let detail = format!(
                "there is an org with the id {PLATFORM_LEDGER}, under which the platform's own ledger stands"
            );
            Err(Error::new(Code::InUse, detail))
        }
    }
}

/// Sends a signed ping, which must be answered with 2xx.
pub(super) async fn ping(
    engine: &Engine,
    scope: &WebhookScope,
    endpoint: &WebhookEndpoint,
    target: &Target,
) -> Result<(), Error> {
    let event = super::Event::ping(&endpoint.id);
    let id = clock::fresh_text("evt");
    let body = event.body();
    let message = Message { id: &id, kind: EventType::PING, body: &body };
    let sent = send(&engine.resources, scope, endpoint, &message).await?;
    if sent.is_taken() {
        return Ok(());
    }
    let host = target.host();
    let (rule, message) = match (sent.code, sent.status) {
        (Some(code @ (Code::AddressForbidden | Code::DnsFailed)), _) => {
            (code.as_str(), format!("{host} is no public host that may be sent to: {}", code.title()))
        }
        (Some(code), _) => {
            ("ping_failed", format!("the signed ping could not be delivered: {}", code.title()))
        }
        (None, status) => {
            let status = status.map_or_else(|| "nothing".to_owned(), |status| status.to_string());
            ("ping_failed", format!("the signed ping was answered {status}; it must be answered with 2xx"))
        }
    };
    Err(Error::violation(AT_URL, rule, message))
}
