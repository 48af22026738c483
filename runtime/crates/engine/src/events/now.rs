//! The calls of an event that is answered once all of them have ended.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use portcullis_core::sync::lock;
use portcullis_store::FiredAutomation;

use super::{Event, EventEntry, EventProblem};
use crate::call::pipeline::invoke;
use crate::engine::Engine;
use crate::error::Error;
use crate::runs::Run;

/// Fires these automations, a few at a time, and returns what came of each, in their order. Every call keeps a place
/// of its own among the workspace's calls: the event's own place is the first, and without another one the calls
/// follow each other.
pub(super) async fn fire_event(
    engine: &Engine,
    event: &Event<'_>,
    automations: &[FiredAutomation],
) -> Vec<EventEntry> {
    let most = usize::try_from(engine.limits().event_calls).unwrap_or(usize::MAX).min(automations.len());
    let tenant = event.firing.tenant;
    // Kept until all have ended. Why none after an error: the calls go on without, one after the other.
    let places = engine.admit_further(&tenant.org, &tenant.workspace, most.saturating_sub(1)).await;
    let places = places.unwrap_or_default();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Entries::new(automations.len(), engine.limits().event_answer_bytes));
    let mut lanes: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = Vec::new();
    for _ in 0..=places.len() {
        lanes.push(Box::pin(lane(engine, event, automations, &next, &done)));
    }
    std::future::poll_fn(|context| {
        lanes.retain_mut(|lane| lane.as_mut().poll(context).is_pending());
        if lanes.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    drop(lanes);
    drop(places);
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.in_order()
}

/// What came of the calls that have ended.
struct Entries {
    numbered: Vec<(usize, EventEntry)>,
    /// Bytes of outputs for which there is room.
    room: u64,
}

impl Entries {
    fn new(calls: usize, room: u64) -> Self {
        Self { numbered: Vec::with_capacity(calls), room }
    }

    fn add(&mut self, number: usize, ended: Result<Run, EventProblem>) {
        let entry = match ended {
            Err(problem) => EventEntry::Problem(problem),
            Ok(mut run) => match self.room.checked_sub(run.answer_bytes()) {
                Some(room) => {
                    self.room = room;
                    EventEntry::Run(Box::new(run))
                }
                None => {
                    // Why now: the others may take minutes, and the memory is wanted.
                    run.forget_answer();
                    EventEntry::Short(Box::new(run))
                }
            },
        };
        self.numbered.push((number, entry));
    }

    fn in_order(mut self) -> Vec<EventEntry> {
        self.numbered.sort_by_key(|(number, _)| *number);
        self.numbered.into_iter().map(|(_, entry)| entry).collect()
    }
}

/// Takes one automation after the other.
async fn lane(
    engine: &Engine,
    event: &Event<'_>,
    automations: &[FiredAutomation],
    next: &AtomicUsize,
    done: &Mutex<Entries>,
) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(automation) = automations.get(number) else { return };
        let ended = call(engine, event, automation).await;
        let ended = ended.map_err(|error| EventProblem::of(automation.automation_id.clone(), error));
        lock(done).add(number, ended);
    }
}

/// Fires one automation.
async fn call(engine: &Engine, event: &Event<'_>, automation: &FiredAutomation) -> Result<Run, Error> {
    let (call, compiled) = event.call_of(engine, automation).await?;
    invoke(engine, call).await.map_err(|error| compiled.explained(error))
}
