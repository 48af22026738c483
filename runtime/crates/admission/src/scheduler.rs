//! The scheduler: calls are admitted or refused here, and admitted calls take turns to compute.
//!
//! A process has more calls than processors. The async runtime serves them in the order in which they became
//! ready, so a workspace with a thousand calls would get a thousand times the processor time of one with a single
//! call, and more calls would begin than can end, each with its memory, until all are slow. Here a call holds a
//! *turn* while it computes, and never while it waits for I/O. There are a few more turns than processors. Turns
//! go to the workspaces in rotation, and within a workspace to calls that have begun before calls that have not.
//!
//! Four limits decide what is admitted: calls of the process (`concurrent_calls`), calls of a workspace
//! (`workspace_concurrent_calls`, a bulkhead), calls of an org over all its workspaces, which whoever asks says, and
//! the time until a call would begin (`queue_ms`): a call that would wait longer is refused at once instead of being
//! served late.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use portcullis_core::sync;

use clock::Clock;
use org_places::OrgPlaces;
use tenant_queues::TenantQueues;

mod clock;
mod org_places;
mod tenant_queues;

/// Turns for each processor: one that computes, and one that is about to, so that none is idle while
/// another thread wakes up.
const TURNS_PER_PROCESSOR: usize = 2;

/// A dispatch latency up to this counts as none: it is the time for which one or two other calls compute.
const SHORT: Duration = Duration::from_micros(300);

/// The dispatch latency is measured at one turn in this number. Measuring costs a poll, a microsecond or two.
const MEASURED: u8 = 16;

/// The scheduler of a process.
pub struct Scheduler(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    turns: usize,
    calls_max: usize,
    calls_per_workspace_max: usize,
    queue: Duration,
}

struct State {
    clock: Clock,
    /// Turns that no call holds.
    free: usize,
    dispatch: DispatchLatency,
    /// Number of admitted calls.
    calls: usize,
    tenants: TenantQueues,
    orgs: OrgPlaces,
}

impl State {
    fn now(&mut self) -> Instant {
        self.clock.at(Instant::now())
    }
}

/// The time from waking a call to its next poll, which is what the async runtime does before it. The runtime polls
/// in the order of waking, as many calls at once as there are processors. While the latency is long, the order of
/// waking is the order of computing, so every call waits here for its turn. While it is short, a call that finds
/// every turn free takes one at once, and only one in [`MEASURED`] waits, to measure the latency again.
struct DispatchLatency {
    /// Number of calls that take a turn at once before the next measurement.
    short: u8,
}

impl DispatchLatency {
    fn took(&mut self, time: Duration) {
        self.short = if time <= SHORT { MEASURED } else { 0 };
    }

    fn is_short(&mut self) -> bool {
        let short = self.short > 0;
        self.short = self.short.saturating_sub(1);
        short
    }
}

/// Why a call is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The workspace is at its limit of calls.
    #[error("the workspace has {0} calls running, which is its limit (limits.workspace_concurrent_calls)")]
    Workspace(usize),
    /// The org is at its limit of calls.
    #[error("the org has {0} calls running over all its workspaces, which is its limit (calls_in_flight)")]
    Org(usize),
    /// The process is at its limit of calls.
    #[error("{0} calls are running, which is the limit (limits.concurrent_calls)")]
    Process(usize),
    /// The call would begin too late.
    #[error("calls wait longer than {} ms for their turn (limits.queue_ms)", .0.as_millis())]
    Queue(Duration),
}

impl Refused {
    /// The code for the caller.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Workspace(_) => Code::WorkspaceBusy,
            Self::Org(_) => Code::OrgBusy,
            Self::Process(_) | Self::Queue(_) => Code::Overloaded,
        }
    }
}

impl Scheduler {
    /// A scheduler for the processors of this machine.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with(limits, processors * TURNS_PER_PROCESSOR)
    }

    fn with(limits: &Limits, turns: usize) -> Self {
        let number = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                clock: Clock::starting(Instant::now()),
                free: turns,
                dispatch: DispatchLatency { short: MEASURED },
                calls: 0,
                tenants: TenantQueues::default(),
                orgs: OrgPlaces::default(),
            }),
            turns,
            calls_max: number(limits.concurrent_calls),
            calls_per_workspace_max: number(limits.workspace_concurrent_calls),
            queue: Duration::from_millis(limits.queue_ms),
        }))
    }

    /// A permit for one call of a workspace, of at most `org_calls_max` calls of its org. The org is the part of the
    /// workspace's name before the slash.
    ///
    /// # Errors
    /// [`Refused`], immediately: nothing waits here. At the org's limit the workspace is expected to come again, and a
    /// place is left for it then.
    pub fn admit(&self, workspace: &str, org_calls_max: usize) -> Result<Permit, Refused> {
        let admitted = self.admit_further(workspace, org_calls_max);
        if let Err(Refused::Org(_)) = admitted {
            self.will_come_again(workspace);
        }
        admitted
    }

    /// As [`Self::admit`], for work that goes on without it: nobody comes again if it is refused.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn admit_further(&self, workspace: &str, org_calls_max: usize) -> Result<Permit, Refused> {
        let shared = &self.0;
        let mut state = shared.lock();
        let tenant = state.tenants.find(workspace);
        if let Some(refused) = shared.verdict(&mut state, workspace, tenant, org_calls_max) {
            return Err(refused);
        }
        let tenant = tenant.unwrap_or_else(|| state.tenants.open(workspace));
        state.tenants.enter(tenant);
        state.calls += 1;
        let now = state.now();
        let org = state.orgs.enter(workspace, now);
        Ok(Permit { shared: Arc::clone(shared), tenant, org })
    }

    /// Why [`Self::admit`] would refuse a call now.
    #[must_use]
    pub fn refusal(&self, workspace: &str, org_calls_max: usize) -> Option<Refused> {
        let mut state = self.0.lock();
        let tenant = state.tenants.find(workspace);
        self.0.verdict(&mut state, workspace, tenant, org_calls_max)
    }

    /// A workspace was refused at its org's limit, and is expected to come again.
    pub fn will_come_again(&self, workspace: &str) {
        let mut state = self.0.lock();
        let now = state.now();
        state.orgs.wants(workspace, now);
    }

    /// Number of admitted calls of an org.
    #[must_use]
    pub fn calls_of_org(&self, org: &str) -> usize {
        self.0.lock().orgs.calls(org)
    }

    /// Number of admitted calls.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.0.lock().calls
    }

    /// Number of admitted calls that wait for their first turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.lock().tenants.fresh_waiting()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        sync::lock(&self.state)
    }

    /// Why a call of a workspace is not admitted; a workspace without calls has no queue.
    fn verdict(
        &self,
        state: &mut State,
        workspace: &str,
        tenant: Option<usize>,
        org_calls_max: usize,
    ) -> Option<Refused> {
        if state.calls >= self.calls_max {
            return Some(Refused::Process(self.calls_max));
        }
        if tenant.map_or(0, |tenant| state.tenants.calls(tenant)) >= self.calls_per_workspace_max {
            return Some(Refused::Workspace(self.calls_per_workspace_max));
        }
        let now = state.now();
        let calls_of = |name: &str| state.tenants.find(name).map_or(0, |found| state.tenants.calls(found));
        if !state.orgs.has_room(workspace, org_calls_max, now, calls_of) {
            return Some(Refused::Org(org_calls_max));
        }
        let late = state.tenants.wait(tenant?, now).longest() > self.queue;
        late.then_some(Refused::Queue(self.queue))
    }

    /// Gives a turn to the next call; keeps it free if none waits.
    fn pass_on(&self) {
        let next = {
            let mut state = self.lock();
            let now = state.now();
            let next = state.tenants.next(now, self.queue);
            if next.is_none() {
                state.free += 1;
            }
            next
        };
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

/// The permission for one call to run; released when dropped.
pub struct Permit {
    shared: Arc<Shared>,
    tenant: usize,
    org: usize,
}

impl Permit {
    /// The call, computing only in its turns.
    pub fn run<F: Future + Unpin>(self, call: F) -> Scheduled<F> {
        let since = {
            let mut state = self.shared.lock();
            state.tenants.expect(self.tenant);
            state.now()
        };
        Scheduled { permit: self, call, at: CallState::Coming, fresh_since: Some(since) }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.calls -= 1;
        state.tenants.leave(self.tenant);
        state.orgs.leave(self.org);
    }
}

/// A call that computes only while it holds a turn. Ends with [`Refused::Queue`] if its first turn comes
/// too late.
pub struct Scheduled<F> {
    /// Dropped before its permit is released: the next call needs the resources that this one holds.
    call: F,
    permit: Permit,
    at: CallState,
    /// Start of the wait for its first turn; `None` once the call has begun.
    fresh_since: Option<Instant>,
}

/// The state of a call between two polls.
enum CallState {
    /// Spawned, not polled yet.
    Coming,
    /// Waits for a turn, under this number.
    Queued(usize),
    /// Holds no turn and waits for none.
    Idle,
}

impl<F: Future + Unpin> Scheduled<F> {
    /// Takes a turn and returns its time; otherwise waits for one.
    fn take_turn(&mut self, waker: &Waker) -> Option<Instant> {
        let mut state = self.permit.shared.lock();
        let now = state.now();
        match self.at {
            CallState::Coming => state.tenants.arrive(self.permit.tenant),
            CallState::Queued(number) => {
                let since = state.tenants.granted(number, waker)?;
                self.at = CallState::Idle;
                state.dispatch.took(now.saturating_duration_since(since));
                return Some(now);
            }
            CallState::Idle => {}
        }
        self.at = CallState::Idle;
        // Why only when all turns are free: beside others it queues in the rotation, otherwise a crowd that came a
        // moment before is served first. Why measured nevertheless: on one thread no other call is seen computing.
        if state.free == self.permit.shared.turns && state.dispatch.is_short() {
            state.free -= 1;
            if self.fresh_since.is_some() {
                state.tenants.begun_at_once(now);
            }
            return Some(now);
        }
        let number = state.tenants.wait_for_turn(self.permit.tenant, self.fresh_since, waker.clone(), now);
        self.at = CallState::Queued(number);
        // No call is overtaken: a turn is only free while none waits.
        if state.free > 0 {
            state.free -= 1;
            drop(state);
            self.permit.shared.pass_on();
        }
        None
    }
}

impl<F: Future + Unpin> Future for Scheduled<F> {
    type Output = Result<F::Output, Refused>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(now) = this.take_turn(context.waker()) else { return Poll::Pending };
        let _turn = Turn(&this.permit.shared);
        let queue = this.permit.shared.queue;
        if this.fresh_since.take().is_some_and(|since| now.saturating_duration_since(since) > queue) {
            return Poll::Ready(Err(Refused::Queue(queue)));
        }
        Pin::new(&mut this.call).poll(context).map(Ok)
    }
}

impl<F> Drop for Scheduled<F> {
    fn drop(&mut self) {
        let had_turn = match self.at {
            CallState::Idle => return,
            CallState::Coming => {
                self.permit.shared.lock().tenants.arrive(self.permit.tenant);
                false
            }
            CallState::Queued(number) => self.permit.shared.lock().tenants.forget(number),
        };
        if had_turn {
            self.permit.shared.pass_on();
        }
    }
}

/// A turn that is held; passed on when dropped, also by a panic.
struct Turn<'s>(&'s Shared);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

#[cfg(test)]
mod tests;
