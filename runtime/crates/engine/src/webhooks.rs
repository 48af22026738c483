//! Webhooks: what happens is told to endpoints of an org or of the platform, signed, and until they take it.
//!
//! ```text
//! a change     its commit also stores one delivery for each endpoint that wants it (events.rs)
//! end of a run read from the org's outbox, with a number up to which it was looked at (fan_out.rs)
//! worker       takes the turn of an endpoint; leases a due delivery; sends it through the gate; settles it (worker.rs)
//! sweep        gives up what is too old or too many, and drops old ends (sweep.rs)
//! ```
//!
//! **What is lost when a process dies**: nothing that was committed. A delivery whose answer was not stored is sent again
//! under the same id. Counts of refused calls that were not told yet are in memory alone; the ledger has each of them.
//!
//! **There is no second way out.** A delivery passes the same gate as every request: https, one URL parser, public
//! addresses judged at each connect, TLS, a ledger. No redirect is followed and no credential is at hand.

use portcullis_core::fault::Code;
use portcullis_core::id::{OrgId, WebhookId};
use portcullis_store::{
    OrgRecord, PLATFORM_SCOPE, StoreError, WebhookEndpoint, WebhookTurn, Webhooks, Writes, ms_part,
};

use crate::caller::{Caller, ORG};
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::page::{Page, PageRequest};

mod checks;
mod deliveries;
mod desk;
mod events;
mod fan_out;
mod refusals;
mod send;
mod sign;
mod sweep;
mod worker;

pub use deliveries::{DeliveriesPage, DeliveriesWanted, Delivery, DeliveryState, deliveries, resend};
pub(crate) use desk::WebhookDesk;
pub(crate) use events::{Event, EventData, EventType, broadcast, tell, wants};

/// The org under which the platform's deliveries stand in a ledger. No org with this id can be made.
pub const PLATFORM_LEDGER: &str = "portcullis-platform";
/// How long the secret before still signs.
const OLD_SECRET_MS: u64 = 24 * clock::HOUR_MS;
/// Turns are at multiples of this time.
const TURN_STEP_MS: u64 = 100;
/// Attempts of a change beside others.
const ATTEMPTS_MAX: u32 = 20;

/// Whose webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookScope {
    Org(OrgId),
    Platform,
}

impl WebhookScope {
    fn part(&self) -> &str {
        match self {
            Self::Org(org) => org.as_str(),
            Self::Platform => PLATFORM_SCOPE,
        }
    }

    fn of_part(part: &str) -> Option<Self> {
        if part == PLATFORM_SCOPE { Some(Self::Platform) } else { OrgId::parse(part).ok().map(Self::Org) }
    }

    /// The org whose ledger has the deliveries.
    fn ledger(&self) -> Result<OrgId, Error> {
        match self {
            Self::Org(org) => Ok(org.clone()),
            Self::Platform => Ok(OrgId::parse(PLATFORM_LEDGER)?),
        }
    }

    fn authorise(&self, caller: &Caller) -> Result<(), Error> {
        match self {
            Self::Org(org) => caller.authorise(ORG, Some(org.as_str()), None),
            Self::Platform => caller.platform(),
        }
    }
}

/// A webhook to save.
#[derive(Debug, Clone)]
pub struct WebhookWish {
    pub url: String,
    /// Types of events, or patterns such as `connection.*`.
    pub events: Vec<String>,
    pub enabled: bool,
}

/// A webhook without its secret.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub id: WebhookId,
    pub url: String,
    pub events: Vec<String>,
    pub enabled: bool,
    /// When it was made and last changed, RFC 3339.
    pub created_at: String,
    pub updated_at: String,
    /// Until when the secret before also signs, RFC 3339.
    pub old_secret_until: Option<String>,
}

impl Webhook {
    fn of(endpoint: &WebhookEndpoint) -> Self {
        let until = endpoint.old_secret.as_ref().and_then(|old| old.until.clone());
        Self {
            id: endpoint.id.clone(),
            url: endpoint.url.clone(),
            events: endpoint.events.clone(),
            enabled: endpoint.enabled,
            created_at: endpoint.created_at.clone(),
            updated_at: endpoint.updated_at.clone(),
            old_secret_until: until.filter(|until| !clock::has_passed(until)),
        }
    }
}

/// A webhook, and its secret if it was made now.
pub struct SavedWebhook {
    pub webhook: Webhook,
    pub secret: Option<String>,
}

/// The endpoints of a scope, and the commit that wrote them; 0 if there are none.
async fn load(engine: &Engine, scope: &WebhookScope) -> Result<(Webhooks, u64), StoreError> {
    let found = engine.resources.records.get::<Webhooks>(&[scope.part()]).await?;
    Ok(found.unwrap_or_default())
}

/// Adds the endpoints of a scope to writes, in the place of those of this commit.
fn replaced(scope: &WebhookScope, hooks: &Webhooks, commit: u64) -> Writes {
    let writes = match scope {
        // Why: an org that is deleted meanwhile leaves nothing behind.
        WebhookScope::Org(org) => Writes::new().require_present::<OrgRecord>(&[org.as_str()]),
        WebhookScope::Platform => Writes::new(),
    };
    match commit {
        0 => writes.create(&[scope.part()], hooks),
        commit => writes.replace(&[scope.part()], hooks, commit),
    }
}

fn missing() -> Error {
    Error::new(Code::NotFound, "there is no webhook of that id")
}

fn find<'h>(hooks: &'h Webhooks, id: &str) -> Result<&'h WebhookEndpoint, Error> {
    hooks.endpoints.iter().find(|endpoint| endpoint.id.as_str() == id).ok_or_else(missing)
}

/// A turn of an endpoint at about this time: not before it, unless it is over. Why rounded: one turn is for many
/// deliveries.
fn turn(writes: Writes, at_ms: u64, scope: &str, instance: &str) -> Writes {
    let is_over = at_ms <= clock::now_ms();
    let steps = if is_over { at_ms / TURN_STEP_MS } else { at_ms.div_ceil(TURN_STEP_MS) };
    let at_ms = steps.saturating_mul(TURN_STEP_MS);
    writes.put(&[&ms_part(at_ms), scope, instance], &WebhookTurn {})
}

/// Saves a webhook. One that is switched on gets a signed ping first, unless nothing about it changes but its events: it
/// must be answered with 2xx.
///
/// # Errors
/// Those of [`Caller::authorise`], `validation_failed` for a URL that may not be sent to, events that do not exist, an
/// endpoint that does not take the ping, and one webhook too many.
pub async fn save(
    engine: &Engine,
    caller: &Caller,
    scope: &WebhookScope,
    id: &str,
    wish: WebhookWish,
) -> Result<SavedWebhook, Error> {
    scope.authorise(caller)?;
    let id = WebhookId::parse(id)?;
    let target = checks::check(engine, &wish)?;
    checks::platform_ledger_is_free(engine, scope).await?;
    let mut pinged: Option<(WebhookEndpoint, String)> = None;
    for _ in 0..ATTEMPTS_MAX {
        let (mut hooks, commit) = load(engine, scope).await?;
        let place = hooks.endpoints.iter().position(|endpoint| endpoint.id == id);
        let before = place.and_then(|place| hooks.endpoints.get(place)).cloned();
        if before.is_none() {
            checks::has_room(engine, &hooks)?;
        }
        let (mut endpoint, secret) = match (&before, &pinged) {
            (Some(before), _) => (changed(before, &wish), None),
            (None, Some((made, secret))) => (made.clone(), Some(secret.clone())),
            (None, None) => {
                let (made, secret) = made(engine, scope, &id, &wish).await?;
                (made, Some(secret))
            }
        };
        let is_known = before.as_ref().is_some_and(|before| before.enabled && before.url == endpoint.url);
        if endpoint.enabled && !is_known && pinged.is_none() {
            checks::ping(engine, scope, &endpoint, &target).await?;
            pinged = Some((endpoint.clone(), secret.clone().unwrap_or_default()));
        }
        let mark = match &before {
            None => Some(sign::settle(&engine.resources, scope.part(), &mut endpoint.secret).await?),
            Some(_) => None,
        };
        match place {
            Some(place) => {
                if let Some(own) = hooks.endpoints.get_mut(place) {
                    *own = endpoint.clone();
                }
            }
            None => hooks.endpoints.push(endpoint.clone()),
        }
        hooks.endpoints.sort_by(|a, b| a.id.cmp(&b.id));
        let writes = turn(replaced(scope, &hooks, commit), clock::now_ms(), scope.part(), &endpoint.instance);
        let writes = match mark {
            Some(mark) => mark.condition(writes),
            None => writes,
        };
        match engine.resources.commit(writes).await {
            Ok(_) => return Ok(SavedWebhook { webhook: Webhook::of(&endpoint), secret }),
            Err(StoreError::Conflict { .. }) => {
                gone(engine, scope).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::plain(Code::Overloaded))
}

/// Fails if the org is gone: a change of it then never finds its place.
async fn gone(engine: &Engine, scope: &WebhookScope) -> Result<(), Error> {
    let WebhookScope::Org(org) = scope else { return Ok(()) };
    let found = engine.resources.records.get::<OrgRecord>(&[org.as_str()]).await?;
    found.map(drop).ok_or_else(|| Error::plain(Code::OrgNotFound))
}

async fn made(
    engine: &Engine,
    scope: &WebhookScope,
    id: &WebhookId,
    wish: &WebhookWish,
) -> Result<(WebhookEndpoint, String), Error> {
    let instance = clock::fresh_text("hook");
    let (secret, text) = sign::new_secret(&engine.resources, scope.part()).await?;
    let now = clock::now();
    let endpoint = WebhookEndpoint {
        id: id.clone(),
        instance,
        url: wish.url.clone(),
        events: wish.events.clone(),
        enabled: wish.enabled,
        since_ms: clock::now_ms(),
        secret,
        old_secret: None,
        created_at: now.clone(),
        updated_at: now,
    };
    Ok((endpoint, text))
}

fn changed(before: &WebhookEndpoint, wish: &WebhookWish) -> WebhookEndpoint {
    let is_same = before.events == wish.events && before.enabled == wish.enabled;
    WebhookEndpoint {
        url: wish.url.clone(),
        events: wish.events.clone(),
        enabled: wish.enabled,
        // Why: what happened before it was asked for is not told.
        since_ms: if is_same { before.since_ms } else { clock::now_ms() },
        updated_at: clock::now(),
        ..before.clone()
    }
}

/// Reads a webhook.
///
/// # Errors
/// Those of [`Caller::authorise`], `not_found`, `store_unavailable`.
pub async fn show(
    engine: &Engine,
    caller: &Caller,
    scope: &WebhookScope,
    id: &str,
) -> Result<Webhook, Error> {
    scope.authorise(caller)?;
    let (hooks, _) = load(engine, scope).await?;
    find(&hooks, id).map(Webhook::of)
}

/// Lists the webhooks of a scope, in the order of their ids.
///
/// # Errors
/// Those of [`Caller::authorise`], `store_unavailable`.
pub async fn list(
    engine: &Engine,
    caller: &Caller,
    scope: &WebhookScope,
    wanted: &PageRequest,
) -> Result<Page<Webhook>, Error> {
    scope.authorise(caller)?;
    let (hooks, _) = load(engine, scope).await?;
    let after = |endpoint: &&WebhookEndpoint| wanted.after().is_none_or(|after| endpoint.id.as_str() > after);
    Ok(wanted.page(hooks.endpoints.iter().filter(after).take(wanted.wanted()).map(Webhook::of).collect()))
}

/// Deletes a webhook. What was not delivered is dropped.
///
/// # Errors
/// Those of [`Caller::authorise`], `not_found`, `store_unavailable`.
pub async fn remove(engine: &Engine, caller: &Caller, scope: &WebhookScope, id: &str) -> Result<(), Error> {
    scope.authorise(caller)?;
    for _ in 0..ATTEMPTS_MAX {
        let (mut hooks, commit) = load(engine, scope).await?;
        let instance = find(&hooks, id)?.instance.clone();
        hooks.endpoints.retain(|endpoint| endpoint.id.as_str() != id);
        // Why a turn: the worker then finds that the endpoint is gone, and erases what it has.
        let writes = turn(replaced(scope, &hooks, commit), clock::now_ms(), scope.part(), &instance);
        match engine.resources.commit(writes).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict { .. }) => gone(engine, scope).await?,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::plain(Code::Overloaded))
}

/// Gives a webhook a new secret. The one before also signs for a day; one before that does not any more.
///
/// # Errors
/// Those of [`Caller::authorise`], `not_found`, `store_unavailable`.
pub async fn rotate(
    engine: &Engine,
    caller: &Caller,
    scope: &WebhookScope,
    id: &str,
) -> Result<SavedWebhook, Error> {
    scope.authorise(caller)?;
    let (mut secret, text) = sign::new_secret(&engine.resources, scope.part()).await?;
    for _ in 0..ATTEMPTS_MAX {
        let mark = sign::settle(&engine.resources, scope.part(), &mut secret).await?;
        let (mut hooks, commit) = load(engine, scope).await?;
        let own = hooks.endpoints.iter_mut().find(|endpoint| endpoint.id.as_str() == id);
        let own = own.ok_or_else(missing)?;
        let mut old = std::mem::replace(&mut own.secret, secret.clone());
        old.until = Some(clock::of_ms(clock::now_ms().saturating_add(OLD_SECRET_MS)));
        own.old_secret = Some(old);
        own.updated_at = clock::now();
        let webhook = Webhook::of(own);
        match engine.resources.commit(mark.condition(replaced(scope, &hooks, commit))).await {
            Ok(_) => return Ok(SavedWebhook { webhook, secret: Some(text) }),
            Err(StoreError::Conflict { .. }) => gone(engine, scope).await?,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::plain(Code::Overloaded))
}

pub(crate) use sweep::forget_org;
