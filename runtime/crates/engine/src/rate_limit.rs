//! Client-side rate limits: how often and how concurrently a connection may be used, counted in this process.
//!
//! A call waits for them without a guest instance; a wait that is too long ends the run with the time after which it
//! may be retried. Each process counts separately.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_action::Values;
use portcullis_action::template::{Part, Template, scalar_text};
use portcullis_core::connector::{Action, Budget, BudgetScope};
use portcullis_core::id::ConnectionName;
use portcullis_core::sync::lock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connection::ConnectionKey;

mod window;

use window::Window;

/// Identifies a rate: equal numbers under the same name count together.
type RateId = (String, u32, u32);

/// Every rate limit of the process.
#[derive(Default)]
pub(crate) struct RateLimits {
    rates: Mutex<HashMap<RateId, Arc<Window>>>,
    slots: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// The slots of a call in its concurrency budgets; released when dropped.
#[derive(Default)]
pub(crate) struct Slots {
    _held: Vec<OwnedSemaphorePermit>,
}

/// A budget is used up for longer than the call may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UsedUp {
    /// When a retry makes sense.
    pub(crate) wait: Duration,
}

impl RateLimits {
    /// Waits for every budget of an action, at most `patience`.
    ///
    /// # Errors
    /// [`UsedUp`] with the wait that would have been needed.
    pub(crate) async fn take(
        &self,
        action: &Action,
        connection: &ConnectionKey,
        values: &Values<'_>,
        patience: Duration,
    ) -> Result<Slots, UsedUp> {
        let deadline = tokio::time::Instant::now() + patience;
        let mut held = Vec::new();
        for budget in &action.budgets {
            let key = key(budget, connection, values);
            if let Some(most) = budget.concurrency {
                let slots = self.slots(&key, most);
                let permit = tokio::time::timeout_at(deadline, slots.acquire_owned()).await;
                held.push(permit.ok().and_then(Result::ok).ok_or(UsedUp { wait: patience })?);
            }
            if let Some(window) = self.rate(budget, connection) {
                let turn = window.reserve(&key, deadline).map_err(|wait| UsedUp { wait })?;
                turn.come().await;
            }
        }
        Ok(Slots { _held: held })
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
