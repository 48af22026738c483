//! Deliveries of a webhook: listed with what became of them, and sent again.

use portcullis_core::fault::Code;
use portcullis_store::{
    DeliveryOutcome, KeptDelivery, PendingDelivery, StoreError, WebhookDelivery, WebhookDue, Writes, ms_part,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ATTEMPTS_MAX, WebhookScope, find, load, turn};
use crate::caller::Caller;
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;

/// Deliveries that one page looks at of each kind.
const LOOKED_AT: usize = 500;
/// How an id of a delivery begins.
const PREFIX: &str = "evt_";

/// Where a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is tried, or will be.
    Pending,
    /// The receiver took it.
    Delivered,
    /// It was given up.
    Dead,
}

/// A delivery without its body.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its id, which is also the event's at the receiver.
    pub delivery_id: String,
    /// Type of the event.
    pub r#type: String,
    pub state: DeliveryState,
    /// RFC 3339.
    pub created_at: String,
    pub tries: u32,
    /// When it was last tried, is tried next, and ended, RFC 3339.
    pub tried_at: Option<String>,
    pub next_try_at: Option<String>,
    pub ended_at: Option<String>,
    /// Status of the last answer.
    pub status: Option<u16>,
    /// Why the last try failed, or why it was given up.
    pub code: Option<String>,
}

impl Delivery {
    fn of(id: String, delivery: WebhookDelivery, state: DeliveryState) -> Self {
        Self {
            delivery_id: id,
            r#type: delivery.r#type,
            state,
            created_at: clock::of_ms(delivery.created_ms),
            tries: delivery.tries,
            tried_at: delivery.tried_ms.map(clock::of_ms),
            next_try_at: None,
            ended_at: None,
            status: delivery.status,
            code: delivery.code,
        }
    }

    fn pending(id: String, pending: PendingDelivery) -> Self {
        let next = clock::of_ms(pending.due_ms);
        Self { next_try_at: Some(next), ..Self::of(id, pending.delivery, DeliveryState::Pending) }
    }

    fn kept(id: String, kept: KeptDelivery) -> Self {
        let ended = clock::of_ms(kept.ended_ms);
        let state = state_of(kept.outcome);
        Self { ended_at: Some(ended), ..Self::of(id, kept.delivery, state) }
    }
}

const fn state_of(outcome: DeliveryOutcome) -> DeliveryState {
    match outcome {
        DeliveryOutcome::Delivered => DeliveryState::Delivered,
        DeliveryOutcome::Dead => DeliveryState::Dead,
    }
}

/// Which deliveries are listed.
#[derive(Debug, Clone)]
pub struct DeliveriesWanted {
    pub state: Option<DeliveryState>,
    /// Maximum entries, 1 to 100.
    pub limit: usize,
    /// The delivery after which the page begins.
    pub after: Option<String>,
}

/// A page of deliveries, oldest first.
#[derive(Debug)]
pub struct DeliveriesPage {
    pub entries: Vec<Delivery>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// Lists deliveries of a webhook, oldest first. A page may come back short after a bounded look.
///
/// # Errors
/// Those of [`Caller::authorise`], `not_found`, `bad_request` for a cursor that is none, `store_unavailable`.
pub async fn deliveries(
    engine: &Engine,
    caller: &Caller,
    scope: &WebhookScope,
    id: &str,
    wanted: &DeliveriesWanted,
) -> Result<DeliveriesPage, Error> {
    scope.authorise(caller)?;
    let (hooks, _) = load(engine, scope).await?;
    let instance = &find(&hooks, id)?.instance;
    let after = wanted.after.as_deref();
    if after.is_some_and(|after| !is_id(after)) {
        return Err(Error::new(Code::BadRequest, "starting_after must be the id of a delivery"));
    }
    let (records, parts) = (&engine.resources.records, [scope.part(), instance.as_str()]);
    let (mut found, mut through) = (Vec::new(), None::<String>);
    let mut look = |ids: Vec<String>| {
        // Why the smaller one: beyond it one of the two lists was not looked at.
        if let Some(last) = ids.into_iter().next_back() {
            let before = through.take();
            through = Some(before.map_or(last.clone(), |before| before.min(last)));
        }
    };
    if wanted.state.is_none_or(|state| state == DeliveryState::Pending) {
        let page = records.list::<PendingDelivery>(&parts, after, LOOKED_AT).await?;
        if page.len() == LOOKED_AT {
            look(page.iter().map(|(id, ..)| id.clone()).collect());
        }
        found.extend(page.into_iter().map(|(id, pending, _)| Delivery::pending(id, pending)));
    }
    if wanted.state.is_none_or(|state| state != DeliveryState::Pending) {
        let page = records.list::<KeptDelivery>(&parts, after, LOOKED_AT).await?;
        if page.len() == LOOKED_AT {
            look(page.iter().map(|(id, ..)| id.clone()).collect());
        }
        let is_it = |kept: &KeptDelivery| wanted.state.is_none_or(|state| state == state_of(kept.outcome));
        let page = page.into_iter().filter(|(_, kept, _)| is_it(kept));
        found.extend(page.map(|(id, kept, _)| Delivery::kept(id, kept)));
    }
    found.sort_by(|a, b| a.delivery_id.cmp(&b.delivery_id));
    if let Some(through) = &through {
        found.retain(|delivery| delivery.delivery_id <= *through);
    }
    let next = if found.len() > wanted.limit {
        found.truncate(wanted.limit);
        found.last().map(|delivery| delivery.delivery_id.clone())
    } else {
        through
    };
    Ok(DeliveriesPage { entries: found, next })
}

fn is_id(text: &str) -> bool {
    let hex = |digits: &str| digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.strip_prefix(PREFIX).is_some_and(hex)
}

/// Has a delivery sent again, under its id: now, and as long as a new one.
///
/// # Errors
/// Those of [`Caller::authorise`], `not_found`, `store_unavailable`.
pub async fn resend(
    engine: &Engine,
    caller: &Caller,
    scope: &WebhookScope,
    id: &str,
    delivery: &str,
) -> Result<Delivery, Error> {
    scope.authorise(caller)?;
    let missing = || Error::new(Code::NotFound, "the webhook has no delivery of that id");
    if !is_id(delivery) {
        return Err(missing());
    }
    for _ in 0..ATTEMPTS_MAX {
        let (hooks, hooks_commit) = load(engine, scope).await?;
        let instance = find(&hooks, id)?.instance.clone();
        let (records, parts) = (&engine.resources.records, [scope.part(), instance.as_str(), delivery]);
        let now_ms = clock::now_ms();
        let mut writes =
            Writes::new().require_revision::<portcullis_store::Webhooks>(&[scope.part()], hooks_commit);
        let pending = if let Some((kept, commit)) = records.get::<KeptDelivery>(&parts).await? {
            writes = writes.require_revision::<KeptDelivery>(&parts, commit).delete::<KeptDelivery>(&parts);
            let delivery = WebhookDelivery { code: None, ..kept.delivery };
            let pending = PendingDelivery { delivery, due_ms: now_ms, since_ms: now_ms, holder: None };
            writes = writes.create(&parts, &pending);
            pending
        } else {
            let (before, commit) = records.get::<PendingDelivery>(&parts).await?.ok_or_else(missing)?;
            if before.holder.is_some() {
                // It is being sent.
                return Ok(Delivery::pending(delivery.to_owned(), before));
            }
            let at = ms_part(before.due_ms);
            let pending = PendingDelivery { due_ms: now_ms, since_ms: now_ms, ..before };
            writes = writes.replace(&parts, &pending, commit);
            writes = writes.delete::<WebhookDue>(&[scope.part(), &instance, &at, delivery]);
            pending
        };
        writes = writes.put(&[scope.part(), &instance, &ms_part(now_ms), delivery], &WebhookDue {});
        match engine.resources.commit(turn(writes, now_ms, scope.part(), &instance)).await {
            Ok(_) => return Ok(Delivery::pending(delivery.to_owned(), pending)),
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::plain(Code::Overloaded))
}
