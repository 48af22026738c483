//! The queues of those who wait for a turn: one lane for each workspace that has calls, served in rotation.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;
use std::time::{Duration, Instant};

/// Over which time the pace of a lane is taken.
const PACE: Duration = Duration::from_millis(100);

/// Numbers of the forgotten that a queue may hold beside twice those who wait.
const FORGOTTEN_MAX: usize = 16;

/// Somebody who waits for a turn.
struct Waiter {
    lane: usize,
    waker: Waker,
    since: Instant,
    /// Whether its call has not begun.
    fresh: bool,
    granted: bool,
    /// Nobody asks for it any more; its number is still in a queue.
    forgotten: bool,
}

/// The calls of one workspace.
#[derive(Default)]
struct Lane {
    workspace: Box<str>,
    calls: usize,
    begun: VecDeque<usize>,
    fresh: VecDeque<usize>,
    /// Those in `fresh` that are not forgotten.
    fresh_waiting: usize,
    in_rotation: bool,
    pace: Option<Pace>,
}

/// How many calls of a lane begin in a time, since its queue was last empty.
struct Pace {
    since: Instant,
    begun: u32,
    /// Beginnings in the span before, and its length.
    before: Option<(u32, Duration)>,
}

impl Pace {
    const fn from(now: Instant) -> Self {
        Self { since: now, begun: 0, before: None }
    }

    fn note(&mut self, now: Instant) {
        let span = now.saturating_duration_since(self.since);
        if span >= PACE {
            *self = Self { since: now, begun: 0, before: Some((self.begun, span)) };
        }
        self.begun += 1;
    }

    /// How long so many take at the present pace; nothing before it is known.
    fn time_for(&self, waiting: usize, now: Instant) -> Duration {
        let span = now.saturating_duration_since(self.since);
        let (begun, span) = match self.before {
            _ if span >= PACE => (self.begun, span),
            Some(before) => before,
            None => return Duration::ZERO,
        };
        span.saturating_mul(u32::try_from(waiting).unwrap_or(u32::MAX)) / begun.max(1)
    }
}

/// Every lane of the process.
#[derive(Default)]
pub(super) struct Lanes {
    by_workspace: HashMap<Box<str>, usize>,
    lanes: Places<Lane>,
    waiters: Places<Waiter>,
    /// Lanes in which somebody waits, in the order of service.
    rotation: VecDeque<usize>,
}

impl Lanes {
    /// The lane of a workspace, made where there is none.
    pub(super) fn open(&mut self, workspace: &str) -> usize {
        if let Some(lane) = self.by_workspace.get(workspace) {
            return *lane;
        }
        let number = self.lanes.put(Lane { workspace: workspace.into(), ..Lane::default() });
        self.by_workspace.insert(workspace.into(), number);
        number
    }

    /// Its admitted calls.
    pub(super) fn calls(&mut self, lane: usize) -> usize {
        self.lanes.get(lane).map_or(0, |lane| lane.calls)
    }

    /// How long a call that came now would wait until it begins.
    pub(super) fn wait(&mut self, lane: usize, now: Instant) -> Duration {
        let lane = self.lanes.get(lane).filter(|lane| lane.fresh_waiting > 0);
        let time = lane.and_then(|lane| Some(lane.pace.as_ref()?.time_for(lane.fresh_waiting, now)));
        time.unwrap_or_default()
    }

    /// One call more.
    pub(super) fn enter(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get(lane) {
            lane.calls += 1;
        }
    }

    /// One call less.
    pub(super) fn leave(&mut self, lane: usize) {
        if let Some(found) = self.lanes.get(lane) {
            found.calls -= 1;
        }
        self.close_if_unused(lane);
    }

    /// Gives up a lane without calls.
    pub(super) fn close_if_unused(&mut self, lane: usize) {
        // Why the rotation: its queues may still hold numbers of the forgotten.
        if self.lanes.get(lane).is_some_and(|lane| lane.calls == 0 && !lane.in_rotation)
            && let Some(gone) = self.lanes.take(lane)
        {
            self.by_workspace.remove(&gone.workspace);
        }
    }

    /// Queues somebody; the number it is known by until it is granted or forgotten.
    pub(super) fn wait_for_turn(&mut self, lane: usize, fresh: bool, waker: Waker, now: Instant) -> usize {
        let number =
            self.waiters.put(Waiter { lane, waker, since: now, fresh, granted: false, forgotten: false });
        if let Some(found) = self.lanes.get(lane) {
            if !fresh {
                found.begun.push_back(number);
            } else {
                if found.fresh_waiting == 0 {
                    found.pace = Some(Pace::from(now));
                }
                found.fresh.push_back(number);
                found.fresh_waiting += 1;
            }
            if !std::mem::replace(&mut found.in_rotation, true) {
                self.rotation.push_back(lane);
            }
        }
        number
    }

    /// Whether it was given a turn; its number is then free. Otherwise it is woken by this waker.
    pub(super) fn is_granted(&mut self, number: usize, waker: &Waker) -> bool {
        let Some(waiter) = self.waiters.get(number) else { return false };
        if !waiter.granted {
            waiter.waker.clone_from(waker);
            return false;
        }
        self.waiters.take(number);
        true
    }

    /// It waits no more. Whether it had been given a turn, which is then for somebody else.
    pub(super) fn forget(&mut self, number: usize) -> bool {
        let Some(waiter) = self.waiters.get(number) else { return false };
        if waiter.granted {
            self.waiters.take(number);
            return true;
        }
        waiter.forgotten = true;
        // Why: a waker keeps its task in memory, and the number may stay in the queue for a while.
        waiter.waker = Waker::noop().clone();
        if waiter.fresh
            && let Some(lane) = self.lanes.get(waiter.lane)
        {
            lane.fresh_waiting -= 1;
            if lane.fresh.len() > 2 * lane.fresh_waiting + FORGOTTEN_MAX {
                let waiters = &mut self.waiters;
                lane.fresh.retain(|number| {
                    let forgotten = waiters.get(*number).is_none_or(|waiter| waiter.forgotten);
                    if forgotten {
                        waiters.take(*number);
                    }
                    !forgotten
                });
            }
        }
        false
    }

    /// Who has the next turn: the next lane's, there first who has begun. Whom to wake. One that has waited for
    /// its first turn longer than `queue` is before those, because all it needs is to be refused.
    pub(super) fn next(&mut self, now: Instant, queue: Duration) -> Option<Waker> {
        while let Some(number) = self.rotation.pop_front() {
            let mut found = None;
            let mut more = false;
            while let Some(lane) = self.lanes.get(number)
                && let Some(waiter) = {
                    let mut is_late = |number: &usize| {
                        self.waiters
                            .get(*number)
                            .is_none_or(|w| w.forgotten || now.saturating_duration_since(w.since) > queue)
                    };
                    match lane.fresh.pop_front_if(|number| is_late(number)) {
                        Some(late) => Some(late),
                        None => lane.begun.pop_front().or_else(|| lane.fresh.pop_front()),
                    }
                }
            {
                more = !(lane.begun.is_empty() && lane.fresh.is_empty());
                found = grant(&mut self.waiters, lane, waiter, now);
                if found.is_some() {
                    break;
                }
            }
            if let Some(lane) = self.lanes.get(number) {
                lane.in_rotation = more;
            }
            if more {
                self.rotation.push_back(number);
            } else {
                self.close_if_unused(number);
            }
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

/// Gives a turn; there is nobody to wake when it was forgotten.
fn grant(waiters: &mut Places<Waiter>, lane: &mut Lane, number: usize, now: Instant) -> Option<Waker> {
    let waiter = waiters.get(number)?;
    if waiter.forgotten {
        waiters.take(number);
        return None;
    }
    waiter.granted = true;
    if waiter.fresh {
        lane.fresh_waiting -= 1;
        if let Some(pace) = &mut lane.pace {
            pace.note(now);
        }
    }
    Some(waiter.waker.clone())
}

/// Values known by small numbers that are used again.
struct Places<T> {
    places: Vec<Option<T>>,
    unused: Vec<usize>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { places: Vec::new(), unused: Vec::new() }
    }
}

impl<T> Places<T> {
    fn put(&mut self, value: T) -> usize {
        if let Some(number) = self.unused.pop()
            && let Some(place) = self.places.get_mut(number)
        {
            *place = Some(value);
            return number;
        }
        self.places.push(Some(value));
        self.places.len() - 1
    }

    fn get(&mut self, number: usize) -> Option<&mut T> {
        self.places.get_mut(number)?.as_mut()
    }

    fn take(&mut self, number: usize) -> Option<T> {
        let taken = self.places.get_mut(number)?.take();
        if taken.is_some() {
            self.unused.push(number);
        }
        taken
    }
}
