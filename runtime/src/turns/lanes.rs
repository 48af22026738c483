//! The queues of those who wait for a turn: one lane for each workspace that has calls, served in rotation.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;
use std::time::{Duration, Instant};

/// Time from one beginning to the next before any was seen: what two processors need.
pub(super) const PACE_AT_FIRST: Duration = Duration::from_micros(250);

/// How many times as long as expected a wait may become: the pace is an average, and under five times the load
/// it swings. A call that waits in vain costs several times what refusing it at once does.
pub(super) const MARGIN: u32 = 3;

/// Over how much waiting the pace is taken. Calls begin in bursts, between which those that have begun go on:
/// an average over some number of beginnings would be that of a burst, and let in several times too many.
const PACE_TIME: Duration = Duration::from_millis(200);

/// Most that one wait counts for: the process may have been stopped meanwhile, and goes on as before.
pub(super) const ONE_WAIT: Duration = Duration::from_millis(50);

/// How many beginnings in how long a time without as much waiting show that a pace has become faster. Why both:
/// a crowd that comes after a quiet hour must not be let in whole because of its first few calls.
pub(super) const FASTER_BEGINNINGS: u32 = 32;
const FASTER_TIME: Duration = Duration::from_secs(1);

/// Numbers of the forgotten that a queue may hold beside twice those who wait.
const FORGOTTEN_MAX: usize = 16;

/// Somebody who waits for a turn.
struct Waiter {
    lane: usize,
    waker: Waker,
    since: Instant,
    /// Whether its call has not begun.
    fresh: bool,
    granted: Option<Instant>,
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
    /// Calls that are on their way here for the first time.
    coming: usize,
    in_rotation: bool,
}

/// How fast calls begin while some wait to. It outlives the queue that it was taken of: what comes next is
/// most likely like what was before, and a crowd that finds the queue empty must not be let in whole.
struct Pace {
    /// The time from one beginning to the next, on average over the last [`PACE_TIME`] of waiting.
    each: Duration,
    /// Since when the next beginning is waited for.
    since: Option<Instant>,
    /// What `each` does not know of yet.
    unknown: Unknown,
}

/// Beginnings, and how long they were waited for.
#[derive(Default)]
struct Unknown {
    first: Option<Instant>,
    begun: u32,
    waited_for: u32,
    waited: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { each: PACE_AT_FIRST, since: None, unknown: Unknown::default() }
    }
}

impl Pace {
    /// Somebody waits.
    fn wanted(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Somebody has begun who waited.
    fn begun(&mut self, now: Instant) {
        if let Some(since) = self.since.replace(now) {
            self.unknown.waited += now.saturating_duration_since(since).min(ONE_WAIT);
            self.unknown.waited_for += 1;
        }
        self.take(now);
    }

    /// Somebody has begun, waiting or not.
    fn take(&mut self, now: Instant) {
        let unknown = &mut self.unknown;
        unknown.begun += 1;
        let since_first = now.saturating_duration_since(*unknown.first.get_or_insert(now));
        let average = unknown.waited / unknown.waited_for.max(1);
        if unknown.waited >= PACE_TIME {
            self.each = average;
        } else if unknown.begun >= FASTER_BEGINNINGS && since_first >= FASTER_TIME {
            self.each = self.each.min(average.max(PACE_AT_FIRST));
        } else {
            return;
        }
        self.unknown = Unknown::default();
    }

    /// How long so many beginnings take.
    fn time_for(&self, beginnings: usize, now: Instant) -> Wait {
        Wait {
            expected: self.each.saturating_mul(u32::try_from(beginnings).unwrap_or(u32::MAX)),
            stalled: self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
        }
    }
}

/// How long a call would wait until it begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wait {
    /// What those before it take at the usual pace.
    pub(super) expected: Duration,
    /// For how long nobody has begun although somebody waits.
    pub(super) stalled: Duration,
}

impl Wait {
    /// How long it may become. Only what is expected: a process that was stopped for a moment goes on as before.
    pub(super) fn longest(self) -> Duration {
        self.expected.saturating_mul(MARGIN).saturating_add(self.stalled)
    }
}

/// Every lane of the process.
pub(super) struct Lanes {
    by_workspace: HashMap<Box<str>, usize>,
    lanes: Places<Lane>,
    waiters: Places<Waiter>,
    /// Lanes in which somebody waits, in the order of service.
    rotation: VecDeque<usize>,
    fresh: Fresh,
}

/// Those who wait for their first turn, of all lanes.
struct Fresh {
    waiting: usize,
    coming: usize,
    /// Lanes that have any.
    lanes: usize,
    pace: Pace,
}

impl Fresh {
    /// One more in a lane of so many.
    fn joins(&mut self, lane: &mut Lane, now: Instant) {
        self.lanes += usize::from(lane.fresh_waiting == 0);
        lane.fresh_waiting += 1;
        self.waiting += 1;
        self.pace.wanted(now);
    }

    /// One less.
    fn leaves(&mut self, lane: &mut Lane) {
        lane.fresh_waiting -= 1;
        self.waiting -= 1;
        self.lanes -= usize::from(lane.fresh_waiting == 0);
        if self.waiting == 0 {
            self.pace.since = None;
        }
    }
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            by_workspace: HashMap::new(),
            lanes: Places::default(),
            waiters: Places::default(),
            rotation: VecDeque::new(),
            fresh: Fresh { waiting: 0, coming: 0, lanes: 0, pace: Pace::default() },
        }
    }
}

impl Lanes {
    /// The lane of a workspace that has one.
    pub(super) fn find(&self, workspace: &str) -> Option<usize> {
        self.by_workspace.get(workspace).copied()
    }

    /// The lane of a workspace, made where there is none.
    pub(super) fn open(&mut self, workspace: &str) -> usize {
        if let Some(lane) = self.find(workspace) {
            return lane;
        }
        let number = self.lanes.put(Lane { workspace: workspace.into(), ..Lane::default() });
        self.by_workspace.insert(workspace.into(), number);
        number
    }

    /// Its admitted calls.
    pub(super) fn calls(&mut self, lane: usize) -> usize {
        self.lanes.get(lane).map_or(0, |lane| lane.calls)
    }

    /// How long a call that came now would wait until it begins: the lanes are served in turn, so those before
    /// it in its own lane count once for each lane in which somebody waits.
    pub(super) fn wait(&mut self, lane: usize, now: Instant) -> Wait {
        match self.lanes.get(lane).map_or(0, |lane| lane.fresh_waiting + lane.coming) {
            0 => Wait::default(),
            own => {
                let all = self.fresh.waiting + self.fresh.coming;
                self.fresh.pace.time_for(all.min(own * self.fresh.lanes.max(1)), now)
            }
        }
    }

    /// A call is on its way to its first turn. Why that counts: in a crowd the runtime takes a while to get to
    /// it, and would meanwhile let in as many again.
    pub(super) fn expect(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get(lane) {
            lane.coming += 1;
            self.fresh.coming += 1;
        }
    }

    /// It is here, or will not be.
    pub(super) fn arrive(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get(lane) {
            lane.coming -= 1;
            self.fresh.coming -= 1;
        }
    }

    /// A call began without waiting.
    pub(super) fn begun_at_once(&mut self, now: Instant) {
        self.fresh.pace.take(now);
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
    fn close_if_unused(&mut self, lane: usize) {
        // Why the rotation: its queues may still hold numbers of the forgotten.
        if self.lanes.get(lane).is_some_and(|lane| lane.calls == 0 && !lane.in_rotation)
            && let Some(gone) = self.lanes.take(lane)
        {
            self.by_workspace.remove(&gone.workspace);
        }
    }

    /// Queues somebody, since when it waits to begin if it has not begun; the number it is known by until it is
    /// granted or forgotten.
    pub(super) fn wait_for_turn(
        &mut self,
        lane: usize,
        fresh_since: Option<Instant>,
        waker: Waker,
        now: Instant,
    ) -> usize {
        let (fresh, since) = (fresh_since.is_some(), fresh_since.unwrap_or(now));
        let number = self.waiters.put(Waiter { lane, waker, since, fresh, granted: None, forgotten: false });
        if let Some(found) = self.lanes.get(lane) {
            if !fresh {
                found.begun.push_back(number);
            } else {
                found.fresh.push_back(number);
                self.fresh.joins(found, now);
            }
            if !std::mem::replace(&mut found.in_rotation, true) {
                self.rotation.push_back(lane);
            }
        }
        number
    }

    /// Since when it has a turn, if it was given one; its number is then free. Otherwise it is woken by this
    /// waker.
    pub(super) fn granted(&mut self, number: usize, waker: &Waker) -> Option<Instant> {
        let waiter = self.waiters.get(number)?;
        if waiter.granted.is_none() {
            waiter.waker.clone_from(waker);
            return None;
        }
        self.waiters.take(number)?.granted
    }

    /// It waits no more. Whether it had been given a turn, which is then for somebody else.
    pub(super) fn forget(&mut self, number: usize) -> bool {
        let Some(waiter) = self.waiters.get(number) else { return false };
        if waiter.granted.is_some() {
            self.waiters.take(number);
            return true;
        }
        waiter.forgotten = true;
        // Why: a waker keeps its task in memory, and the number may stay in the queue for a while.
        waiter.waker = Waker::noop().clone();
        if waiter.fresh
            && let Some(lane) = self.lanes.get(waiter.lane)
        {
            self.fresh.leaves(lane);
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
            let found = self.next_of(number, now, queue);
            let Some(lane) = self.lanes.get(number) else { continue };
            lane.in_rotation = !(lane.begun.is_empty() && lane.fresh.is_empty());
            if lane.in_rotation {
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

    /// Gives a turn to the first of a lane; nobody when those in its queues are forgotten.
    fn next_of(&mut self, lane: usize, now: Instant, queue: Duration) -> Option<Waker> {
        let (lane, waiters) = (self.lanes.get(lane)?, &mut self.waiters);
        loop {
            let is_over = |number: &mut usize| {
                let waiter = waiters.get(*number);
                waiter.is_none_or(|w| w.forgotten || now.saturating_duration_since(w.since) > queue)
            };
            let over = lane.fresh.pop_front_if(is_over);
            let number = over.or_else(|| lane.begun.pop_front()).or_else(|| lane.fresh.pop_front())?;
            let Some(waiter) = waiters.get(number) else { continue };
            if waiter.forgotten {
                waiters.take(number);
                continue;
            }
            waiter.granted = Some(now);
            if waiter.fresh {
                // Why not the late: to refuse one takes no time, and says nothing of how long a beginning takes.
                if now.saturating_duration_since(waiter.since) <= queue {
                    self.fresh.pace.begun(now);
                }
                self.fresh.leaves(lane);
            }
            return Some(waiter.waker.clone());
        }
    }
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
