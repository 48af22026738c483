//! The queues of calls that wait for a turn: one for each workspace that has calls, served in rotation.
//!
//! They decide the order and estimate the waiting time; the scheduler decides on admission.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;
use std::time::{Duration, Instant};

use slab::Slab;

/// Initial time from one start of a call to the next, before any was measured: what two processors need.
pub(super) const PACE_AT_FIRST: Duration = Duration::from_micros(250);

/// The factor by which a wait may exceed the estimate: the pace is an average, and under five times the load it
/// varies. A call that waits in vain costs several times as much as refusing it at once.
pub(super) const MARGIN: u32 = 3;

/// The waiting time over which the pace is averaged. Calls start in bursts, between which those that have begun
/// continue: an average over a number of starts would be that of a burst, and admit several times too many.
const PACE_TIME: Duration = Duration::from_millis(200);

/// Maximum that one wait counts for: the process may have been stopped meanwhile, and continues as before.
pub(super) const ONE_WAIT: Duration = Duration::from_millis(50);

/// This number of starts within [`FASTER_TIME`], without as much waiting, shows that the pace has become faster.
/// Why both: a crowd that comes after a quiet hour must not be admitted as a whole because of its first few calls.
pub(super) const FASTER_BEGINNINGS: u32 = 32;
const FASTER_TIME: Duration = Duration::from_secs(1);

/// Maximum numbers of dropped calls in a queue, besides twice the number of waiting calls.
const FORGOTTEN_MAX: usize = 16;

/// A call that waits for a turn.
struct Waiter {
    tenant: usize,
    waker: Waker,
    since: Instant,
    /// Whether the call has not begun.
    fresh: bool,
    granted: Option<Instant>,
    /// Whether the call was dropped while its number is still in a queue.
    forgotten: bool,
}

/// The calls of one workspace.
#[derive(Default)]
struct TenantQueue {
    workspace: Box<str>,
    calls: usize,
    begun: VecDeque<usize>,
    fresh: VecDeque<usize>,
    /// Number of calls in `fresh` that are not forgotten.
    fresh_waiting: usize,
    /// Number of calls that were spawned and not polled yet.
    coming: usize,
    in_rotation: bool,
}

/// How fast calls start while some wait. It outlives the queue it was measured on: the next load is most likely
/// similar, and a crowd that finds the queue empty must not be admitted as a whole.
struct Pace {
    /// The time from one start to the next, on average over the last [`PACE_TIME`] of waiting.
    each: Duration,
    /// Since when a call has been waiting to start.
    since: Option<Instant>,
    /// Measurements that are not in `each` yet.
    unknown: Unknown,
}

/// Starts, and the time waited for them.
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
    /// A call waits.
    fn wanted(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// A call that waited has started.
    fn begun(&mut self, now: Instant) {
        if let Some(since) = self.since.replace(now) {
            self.unknown.waited += now.saturating_duration_since(since).min(ONE_WAIT);
            self.unknown.waited_for += 1;
        }
        self.take(now);
    }

    /// A call has started, after waiting or not.
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

    /// How long this number of starts takes.
    fn time_for(&self, beginnings: usize, now: Instant) -> Wait {
        Wait {
            expected: self.each.saturating_mul(u32::try_from(beginnings).unwrap_or(u32::MAX)),
            stalled: self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
        }
    }
}

/// How long a call would wait until it starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wait {
    /// Time for the calls before it at the usual pace.
    pub(super) expected: Duration,
    /// Time for which no call has started although one waits.
    pub(super) stalled: Duration,
}

impl Wait {
    /// The longest wait to expect. Only `expected`: a process that was stopped for a moment continues as before.
    pub(super) fn longest(self) -> Duration {
        self.expected.saturating_mul(MARGIN).saturating_add(self.stalled)
    }
}

/// Every queue of the process.
pub(super) struct TenantQueues {
    by_workspace: HashMap<Box<str>, usize>,
    tenants: Slab<TenantQueue>,
    waiters: Slab<Waiter>,
    /// Queues with waiting calls, in the order of service.
    rotation: VecDeque<usize>,
    fresh: FreshCalls,
}

/// Calls that wait for their first turn, of all workspaces.
struct FreshCalls {
    waiting: usize,
    coming: usize,
    /// Number of queues that have any.
    tenants: usize,
    pace: Pace,
}

impl FreshCalls {
    /// One more call of this workspace waits.
    fn joins(&mut self, tenant: &mut TenantQueue, now: Instant) {
        self.tenants += usize::from(tenant.fresh_waiting == 0);
        tenant.fresh_waiting += 1;
        self.waiting += 1;
        self.pace.wanted(now);
    }

    /// One call of this workspace fewer waits.
    fn leaves(&mut self, tenant: &mut TenantQueue) {
        tenant.fresh_waiting -= 1;
        self.waiting -= 1;
        self.tenants -= usize::from(tenant.fresh_waiting == 0);
        if self.waiting == 0 {
            self.pace.since = None;
        }
    }
}

impl Default for TenantQueues {
    fn default() -> Self {
        Self {
            by_workspace: HashMap::new(),
            tenants: Slab::new(),
            waiters: Slab::new(),
            rotation: VecDeque::new(),
            fresh: FreshCalls { waiting: 0, coming: 0, tenants: 0, pace: Pace::default() },
        }
    }
}

impl TenantQueues {
    /// The queue of a workspace, if it has one.
    pub(super) fn find(&self, workspace: &str) -> Option<usize> {
        self.by_workspace.get(workspace).copied()
    }

    /// Number of calls that wait for their first turn.
    pub(super) fn fresh_waiting(&self) -> usize {
        self.fresh.waiting
    }

    /// The queue of a workspace; created if there is none.
    pub(super) fn open(&mut self, workspace: &str) -> usize {
        if let Some(tenant) = self.find(workspace) {
            return tenant;
        }
        let number =
            self.tenants.insert(TenantQueue { workspace: workspace.into(), ..TenantQueue::default() });
        self.by_workspace.insert(workspace.into(), number);
        number
    }

    /// Number of its admitted calls.
    pub(super) fn calls(&self, tenant: usize) -> usize {
        self.tenants.get(tenant).map_or(0, |tenant| tenant.calls)
    }

    /// How long a call that arrives now would wait until it starts: the workspaces are served in rotation, so the calls
    /// before it in its own queue count once for each workspace in which a call waits.
    pub(super) fn wait(&mut self, tenant: usize, now: Instant) -> Wait {
        match self.tenants.get_mut(tenant).map_or(0, |tenant| tenant.fresh_waiting + tenant.coming) {
            0 => Wait::default(),
            own => {
                let all = self.fresh.waiting + self.fresh.coming;
                self.fresh.pace.time_for(all.min(own * self.fresh.tenants.max(1)), now)
            }
        }
    }

    /// A call was spawned and is not polled yet. Why it counts: under load the runtime takes a while to poll it, and
    /// as many again would be admitted meanwhile.
    pub(super) fn expect(&mut self, tenant: usize) {
        if let Some(tenant) = self.tenants.get_mut(tenant) {
            tenant.coming += 1;
            self.fresh.coming += 1;
        }
    }

    /// The call was polled, or dropped.
    pub(super) fn arrive(&mut self, tenant: usize) {
        if let Some(tenant) = self.tenants.get_mut(tenant) {
            tenant.coming -= 1;
            self.fresh.coming -= 1;
        }
    }

    /// A call started without waiting.
    pub(super) fn begun_at_once(&mut self, now: Instant) {
        self.fresh.pace.take(now);
    }

    /// One more call.
    pub(super) fn enter(&mut self, tenant: usize) {
        if let Some(tenant) = self.tenants.get_mut(tenant) {
            tenant.calls += 1;
        }
    }

    /// One call fewer.
    pub(super) fn leave(&mut self, tenant: usize) {
        if let Some(found) = self.tenants.get_mut(tenant) {
            found.calls -= 1;
        }
        self.close_if_unused(tenant);
    }

    /// Removes a queue without calls.
    fn close_if_unused(&mut self, tenant: usize) {
        // Why the rotation: its queues may still contain numbers of dropped calls.
        if self.tenants.get_mut(tenant).is_some_and(|tenant| tenant.calls == 0 && !tenant.in_rotation)
            && let Some(gone) = self.tenants.try_remove(tenant)
        {
            self.by_workspace.remove(&gone.workspace);
        }
    }

    /// Queues a call; `fresh_since` is the start of its wait if it has not begun. Returns its number, valid
    /// until the turn is taken or the call is dropped.
    pub(super) fn wait_for_turn(
        &mut self,
        tenant: usize,
        fresh_since: Option<Instant>,
        waker: Waker,
        now: Instant,
    ) -> usize {
        let (fresh, since) = (fresh_since.is_some(), fresh_since.unwrap_or(now));
        let number =
            self.waiters.insert(Waiter { tenant, waker, since, fresh, granted: None, forgotten: false });
        if let Some(found) = self.tenants.get_mut(tenant) {
            if !fresh {
                found.begun.push_back(number);
            } else {
                found.fresh.push_back(number);
                self.fresh.joins(found, now);
            }
            if !std::mem::replace(&mut found.in_rotation, true) {
                self.rotation.push_back(tenant);
            }
        }
        number
    }

    /// The time at which the call received a turn, if it did; its number is then free. Otherwise it sets the waker.
    pub(super) fn granted(&mut self, number: usize, waker: &Waker) -> Option<Instant> {
        let waiter = self.waiters.get_mut(number)?;
        if waiter.granted.is_none() {
            waiter.waker.clone_from(waker);
            return None;
        }
        self.waiters.try_remove(number)?.granted
    }

    /// The call waits no longer. Returns whether it had received a turn, which the next call must get.
    pub(super) fn forget(&mut self, number: usize) -> bool {
        let Some(waiter) = self.waiters.get_mut(number) else { return false };
        if waiter.granted.is_some() {
            self.waiters.try_remove(number);
            return true;
        }
        waiter.forgotten = true;
        // Why: a waker keeps its task in memory, and the number may stay in the queue for a while.
        waiter.waker = Waker::noop().clone();
        if waiter.fresh
            && let Some(tenant) = self.tenants.get_mut(waiter.tenant)
        {
            self.fresh.leaves(tenant);
            if tenant.fresh.len() > 2 * tenant.fresh_waiting + FORGOTTEN_MAX {
                let waiters = &mut self.waiters;
                tenant.fresh.retain(|number| {
                    let forgotten = waiters.get_mut(*number).is_none_or(|waiter| waiter.forgotten);
                    if forgotten {
                        waiters.try_remove(*number);
                    }
                    !forgotten
                });
            }
        }
        false
    }

    /// Gives the next turn to a call of the next workspace and returns its waker. Within a workspace calls that have
    /// begun come first, but one that has waited longer than `queue` is taken before them: it only needs to be refused.
    pub(super) fn next(&mut self, now: Instant, queue: Duration) -> Option<Waker> {
        while let Some(number) = self.rotation.pop_front() {
            let found = self.next_of(number, now, queue);
            let Some(tenant) = self.tenants.get_mut(number) else { continue };
            tenant.in_rotation = !(tenant.begun.is_empty() && tenant.fresh.is_empty());
            if tenant.in_rotation {
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

    /// Gives a turn to the first call of a workspace; `None` if all in its queues were dropped.
    fn next_of(&mut self, tenant: usize, now: Instant, queue: Duration) -> Option<Waker> {
        let (tenant, waiters) = (self.tenants.get_mut(tenant)?, &mut self.waiters);
        loop {
            let is_over = |number: &mut usize| {
                let waiter = waiters.get_mut(*number);
                waiter.is_none_or(|w| w.forgotten || now.saturating_duration_since(w.since) > queue)
            };
            let over = tenant.fresh.pop_front_if(is_over);
            let number = over.or_else(|| tenant.begun.pop_front()).or_else(|| tenant.fresh.pop_front())?;
            let Some(waiter) = waiters.get_mut(number) else { continue };
            if waiter.forgotten {
                waiters.try_remove(number);
                continue;
            }
            waiter.granted = Some(now);
            if waiter.fresh {
                // Why not the late ones: refusing one takes no time and shows nothing about the pace.
                if now.saturating_duration_since(waiter.since) <= queue {
                    self.fresh.pace.begun(now);
                }
                self.fresh.leaves(tenant);
            }
            return Some(waiter.waker.clone());
        }
    }
}
