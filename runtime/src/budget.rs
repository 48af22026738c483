//! Client-side budgets: how often and how many at a time a connection may be used, kept in this process.
//!
//! A budget is waited for with no guest alive; a wait that is too long ends the run with the time after
//! which it may be tried again. Several processes each keep their own count.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis_action::Values;
use portcullis_action::template::{Part, Template, scalar_text};
use portcullis_core::connector::{Action, Budget, BudgetScope};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::credential::Place;

mod window;

use window::Window;

/// What tells one rate from another: the same numbers under the same name count together.
type RateId = (String, u32, u32);

/// Every budget of the process.
#[derive(Default)]
pub struct Budgets {
    rates: Mutex<HashMap<RateId, Arc<Window>>>,
    slots: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A place in every concurrency budget of a call; given up when dropped.
#[derive(Default)]
pub struct Slots {
    _held: Vec<OwnedSemaphorePermit>,
}

/// A budget is used up for longer than the call may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedUp {
    /// When trying again may help.
    pub wait: Duration,
}

impl Budgets {
    /// Waits for every budget of an action, at most `patience`.
    ///
    /// # Errors
    /// [`UsedUp`] with the wait that would have been needed.
    pub async fn take(
        &self,
        action: &Action,
        place: &Place,
        values: &Values<'_>,
        patience: Duration,
    ) -> Result<Slots, UsedUp> {
        let deadline = tokio::time::Instant::now() + patience;
        let mut held = Vec::new();
        for budget in &action.budgets {
            let key = key(budget, place, values);
            if let Some(most) = budget.concurrency {
                let slots = self.slots(&key, most);
                let permit = tokio::time::timeout_at(deadline, slots.acquire_owned()).await;
                held.push(permit.ok().and_then(Result::ok).ok_or(UsedUp { wait: patience })?);
            }
            if let Some(window) = self.rate(budget, place) {
                let turn = window.reserve(&key, deadline).map_err(|wait| UsedUp { wait })?;
                turn.come().await;
            }
        }
        Ok(Slots { _held: held })
    }

    fn rate(&self, budget: &Budget, place: &Place) -> Option<Arc<Window>> {
        let (requests, per_ms) = budget.requests?;
        let id = (format!("{}/{}", place.connector, budget.id), requests, per_ms);
        let made = || Arc::new(Window::new(requests, Duration::from_millis(u64::from(per_ms))));
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(rates.entry(id).or_insert_with(made)))
    }

    fn slots(&self, key: &str, most: u32) -> Arc<Semaphore> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // Why here: nobody holds or waits for a semaphore that only the map knows.
        slots.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        let id = format!("{key}/{most}");
        Arc::clone(slots.entry(id).or_insert_with(|| Arc::new(Semaphore::new(most as usize))))
    }
}

/// Who shares the budget, and what parts it further.
fn key(budget: &Budget, place: &Place, values: &Values<'_>) -> String {
    let who = match budget.scope {
        BudgetScope::Connection => format!("{}/{}/{}", place.org, place.workspace, place.connector),
        BudgetScope::Org => format!("{}//{}", place.org, place.connector),
        BudgetScope::Connector => format!("//{}", place.connector),
    };
    let part = budget.key.as_ref().map(|template| text(template, values)).unwrap_or_default();
    format!("{who}/{}/{part}", budget.id)
}

/// A key whose variable has no value is shared by all calls without one.
fn text(template: &Template, values: &Values<'_>) -> String {
    let parts = template.parts.iter().map(|part| match part {
        Part::Literal(text) => text.clone(),
        Part::Variable(variable) => values.get(variable).as_ref().and_then(scalar_text).unwrap_or_default(),
    });
    parts.collect()
}
