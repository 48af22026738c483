//! Client-side rate limits: how often and how concurrently a connection may be used. They are counted in this process
//! where it has the store alone, else in records that all nodes write.
//!
//! A call waits for them without a guest instance; a wait that is too long ends the run with the time after which it
//! may be retried.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use portcullis_action::Values;
use portcullis_action::template::{Part, Template, scalar_text};
use portcullis_core::connector::{Action, Budget, BudgetScope};
use portcullis_core::hex;
use portcullis_core::id::ConnectionName;
use portcullis_core::sync::lock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::connection::ConnectionKey;
use crate::error::Error;
use crate::resources::Resources;

mod shared;
mod shared_slots;
mod sweep;
#[cfg(test)]
mod tests;
mod turns;
mod window;

use shared::SharedTurns;
use shared_slots::{SharedSlot, SharedSlots};
pub(crate) use sweep::sweep;
use turns::Rate;
use window::Window;

/// Identifies a rate: equal numbers under the same name count together.
type RateId = (String, u32, u32);

/// Every rate limit of the process.
pub(crate) struct RateLimits {
    rates: Mutex<HashMap<RateId, Arc<Window>>>,
    slots: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// Where other processes share the store.
    shared: Option<Shared>,
}

/// What is counted in records.
struct Shared {
    turns: SharedTurns,
    slots: SharedSlots,
}

/// A slot of a call, as long as this exists.
enum Held {
    Here { _permit: OwnedSemaphorePermit },
    Shared { _slot: SharedSlot },
}

/// The slots of a call in its concurrency budgets; released when dropped.
#[derive(Default)]
pub(crate) struct Slots {
    _held: Vec<Held>,
}

/// Why a call gets no turn.
#[derive(Debug, Clone)]
pub(crate) enum NoTurn {
    /// A budget is used up for longer than the call may wait; a retry makes sense after this.
    UsedUp { wait: Duration },
    /// What is left of a budget cannot be read or written.
    Store(Error),
}

impl RateLimits {
    pub(crate) fn new(resources: &Resources) -> Self {
        let shared = resources.records.store().is_shared().then(|| Shared {
            turns: SharedTurns::new(resources.records.clone()),
            slots: SharedSlots::new(resources.records.clone(), resources.limits.call_ms),
        });
        Self { rates: Mutex::default(), slots: Mutex::default(), shared }
    }

    /// Waits for every budget of an action, at most `patience`.
    ///
    /// # Errors
    /// [`NoTurn`] with the wait that would have been needed.
    pub(crate) async fn take(
        &self,
        action: &Action,
        connection: &ConnectionKey,
        values: &Values<'_>,
        patience: Duration,
    ) -> Result<Slots, NoTurn> {
        let deadline = Instant::now() + patience;
        let mut held = Vec::new();
        for budget in &action.budgets {
            let key = key(budget, connection, values);
            if let Some(most) = budget.concurrency {
                let slots = self.slots(&key, most);
                let permit = tokio::time::timeout_at(deadline, slots.acquire_owned()).await;
                let permit = permit.ok().and_then(Result::ok).ok_or(NoTurn::UsedUp { wait: patience })?;
                held.push(self.slot(&key, most, permit, deadline).await?);
            }
            self.turn(budget, connection, &key, deadline).await?;
        }
        Ok(Slots { _held: held })
    }

    /// A slot for whoever has one of this process.
    async fn slot(
        &self,
        key: &str,
        most: u32,
        permit: OwnedSemaphorePermit,
        deadline: Instant,
    ) -> Result<Held, NoTurn> {
        let Some(shared) = &self.shared else { return Ok(Held::Here { _permit: permit }) };
        let name = hash(&[key, &most.to_string()]);
        Ok(Held::Shared { _slot: shared.slots.take(name, most, permit, deadline).await? })
    }

    /// Waits for the turn of a request.
    async fn turn(
        &self,
        budget: &Budget,
        connection: &ConnectionKey,
        key: &str,
        deadline: Instant,
    ) -> Result<(), NoTurn> {
        let Some((requests, per_ms)) = budget.requests else { return Ok(()) };
        if let Some(shared) = &self.shared {
            let name = hash(&[key, &requests.to_string(), &per_ms.to_string()]);
            let turn = shared.turns.take(name, Rate::new(requests, per_ms), deadline).await?;
            turn.come().await;
        } else if let Some(window) = self.rate(budget, connection) {
            let turn = window.reserve(key, deadline).map_err(|wait| NoTurn::UsedUp { wait })?;
            turn.come().await;
        }
        Ok(())
    }

    fn rate(&self, budget: &Budget, connection: &ConnectionKey) -> Option<Arc<Window>> {
        let (requests, per_ms) = budget.requests?;
        let id = (format!("{}/{}", connection.connector, budget.id), requests, per_ms);
        let made = || Arc::new(Window::new(requests, Duration::from_millis(u64::from(per_ms))));
        let mut rates = lock(&self.rates);
        Some(Arc::clone(rates.entry(id).or_insert_with(made)))
    }

    fn slots(&self, key: &str, most: u32) -> Arc<Semaphore> {
        let mut slots = lock(&self.slots);
        // Why here: no call holds or waits for a semaphore that only the map references.
        slots.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        let id = format!("{key}/{most}");
        Arc::clone(slots.entry(id).or_insert_with(|| Arc::new(Semaphore::new(most as usize))))
    }
}

/// The name of a budget's record.
fn hash(parts: &[&str]) -> String {
    let mut hash = Context::new(&SHA256);
    for part in parts {
        hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finish().as_ref())
}

/// Which connections share the budget, and the value that divides it.
fn key(budget: &Budget, connection: &ConnectionKey, values: &Values<'_>) -> String {
    let who = match budget.scope {
        BudgetScope::Connection => {
            // Why a colon: it is in no id.
            let name = connection.name.as_ref().map_or("", ConnectionName::as_str);
            format!("{}/{}/{}:{name}", connection.org, connection.workspace, connection.connector)
        }
        BudgetScope::Org => format!("{}//{}", connection.org, connection.connector),
        BudgetScope::Connector => format!("//{}", connection.connector),
    };
    let part = budget.key.as_ref().map(|template| text(template, values)).unwrap_or_default();
    format!("{who}/{}/{part}", budget.id)
}

/// All calls for which the key's variable has no value share a budget.
fn text(template: &Template, values: &Values<'_>) -> String {
    let parts = template.parts.iter().map(|part| match part {
        Part::Literal(text) => text.clone(),
        Part::Variable(variable) => {
            values.get(variable).ok().flatten().as_ref().and_then(scalar_text).unwrap_or_default()
        }
    });
    parts.collect()
}
