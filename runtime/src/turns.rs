//! Who computes next. Calls are admitted or refused here, and those that are admitted take turns.
//!
//! A process has more calls than processors. Left to itself the async runtime serves whoever became ready
//! first, so a workspace with a thousand calls gets a thousand times the processor of one with one, and calls
//! begin that cannot end, each with its memory, until all are slow. Here a call holds a *turn* while it computes
//! and while it is on its way to, never while it waits for anybody else. There are a few more turns than
//! processors; they go round the workspaces, and within one workspace first to what has begun, so that what was
//! begun ends.
//!
//! What is admitted is bounded three times: calls of the process (`concurrent_calls`), calls of a workspace
//! (`workspace_concurrent_calls`, a bulkhead), and the time until a call would begin (`queue_ms`): a workspace
//! whose queue already takes longer is refused at once instead of being served late.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;

use clock::Clock;
use lanes::Lanes;

mod clock;
mod lanes;

/// Turns for each processor: one that computes, and one that is about to, so that none stands idle while
/// another thread wakes up.
const TURNS_PER_PROCESSOR: usize = 2;

/// Within this the runtime gets to a call as good as at once: what computing for one or two others takes.
const SHORT: Duration = Duration::from_micros(300);

/// One in so many turns shows how long it takes to get to a call; another poll, a microsecond or two.
const MEASURED: u8 = 16;

/// The turns of a process.
pub struct Turns(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    turns: usize,
    calls_max: usize,
    calls_per_workspace_max: usize,
    queue: Duration,
}

struct State {
    clock: Clock,
    /// Turns that nobody holds.
    free: usize,
    travel: Travel,
    /// Admitted calls.
    calls: usize,
    lanes: Lanes,
}

impl State {
    fn now(&mut self) -> Instant {
        self.clock.at(Instant::now())
    }
}

/// How long a call that was woken takes to be polled: what the async runtime has to do before it. The runtime
/// polls in the order of waking, and only as many at once as there are processors: while that takes long, the
/// order in which calls are woken is the order in which they compute, so each waits here until it is woken.
/// While it takes no time, a call that finds nobody computing does so at once, and only every [`MEASURED`]th is
/// sent the long way round.
struct Travel {
    /// How many compute at once before the next is sent round.
    short: u8,
}

impl Travel {
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
    /// The workspace has as many calls as it may.
    #[error("the workspace has {0} calls running, as many as it may (limits.workspace_concurrent_calls)")]
    Workspace(usize),
    /// The process has as many calls as it may.
    #[error("{0} calls are running, as many as may (limits.concurrent_calls)")]
    Process(usize),
    /// It would begin too late.
    #[error("calls wait longer than {} ms for their turn (limits.queue_ms)", .0.as_millis())]
    Queue(Duration),
}

impl Refused {
    /// The code for the caller.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Workspace(_) => Code::WorkspaceBusy,
            Self::Process(_) | Self::Queue(_) => Code::Overloaded,
        }
    }
}

impl Turns {
    /// Turns for the processors of this machine.
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
                travel: Travel { short: MEASURED },
                calls: 0,
                lanes: Lanes::default(),
            }),
            turns,
            calls_max: number(limits.concurrent_calls),
            calls_per_workspace_max: number(limits.workspace_concurrent_calls),
            queue: Duration::from_millis(limits.queue_ms),
        }))
    }

    /// A place for one call of a workspace.
    ///
    /// # Errors
    /// [`Refused`], at once: nothing waits here.
    pub fn admit(&self, workspace: &str) -> Result<Place, Refused> {
        let shared = &self.0;
        let mut state = shared.lock();
        let lane = state.lanes.find(workspace);
        if let Some(refused) = shared.verdict(&mut state, lane) {
            return Err(refused);
        }
        let lane = lane.unwrap_or_else(|| state.lanes.open(workspace));
        state.lanes.enter(lane);
        state.calls += 1;
        Ok(Place { shared: Arc::clone(shared), lane })
    }

    /// Why [`Self::admit`] would refuse a call now.
    #[must_use]
    pub fn refusal(&self, workspace: &str) -> Option<Refused> {
        let mut state = self.0.lock();
        let lane = state.lanes.find(workspace);
        self.0.verdict(&mut state, lane)
    }

    /// How many calls are admitted.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.0.lock().calls
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why a call of a workspace is not admitted; a workspace without calls has no lane.
    fn verdict(&self, state: &mut State, lane: Option<usize>) -> Option<Refused> {
        if state.calls >= self.calls_max {
            return Some(Refused::Process(self.calls_max));
        }
        if lane.map_or(0, |lane| state.lanes.calls(lane)) >= self.calls_per_workspace_max {
            return Some(Refused::Workspace(self.calls_per_workspace_max));
        }
        let now = state.now();
        let late = state.lanes.wait(lane?, now).longest() > self.queue;
        late.then_some(Refused::Queue(self.queue))
    }

    /// Gives a turn on to who is next; keeps it free when nobody waits.
    fn pass_on(&self) {
        let next = {
            let mut state = self.lock();
            let now = state.now();
            let next = state.lanes.next(now, self.queue);
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

/// An admitted call's place; given up when dropped.
pub struct Place {
    shared: Arc<Shared>,
    lane: usize,
}

impl Place {
    /// The call, taking its turns.
    pub fn run<F: Future + Unpin>(self, call: F) -> InTurn<F> {
        let since = {
            let mut state = self.shared.lock();
            state.lanes.expect(self.lane);
            state.now()
        };
        InTurn { place: self, call, at: At::Coming, fresh_since: Some(since) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.calls -= 1;
        state.lanes.leave(self.lane);
    }
}

/// A call that computes only while it holds a turn. Ends with [`Refused::Queue`] when its first turn comes
/// too late.
pub struct InTurn<F> {
    /// Dropped before its place is given up: whoever takes the place needs what the call holds.
    call: F,
    place: Place,
    at: At,
    /// Since when it waits for its first turn; nothing once it has begun.
    fresh_since: Option<Instant>,
}

/// Where a call is between two polls.
enum At {
    /// On its way to its first poll.
    Coming,
    /// Among those who wait for a turn, by this number.
    Queued(usize),
    /// Anywhere else: it holds no turn and wants none.
    Away,
}

impl<F: Future + Unpin> InTurn<F> {
    /// Takes a turn; when that was. Otherwise it waits for one.
    fn take_turn(&mut self, waker: &Waker) -> Option<Instant> {
        let mut state = self.place.shared.lock();
        let now = state.now();
        match self.at {
            At::Coming => state.lanes.arrive(self.place.lane),
            At::Queued(number) => {
                let since = state.lanes.granted(number, waker)?;
                self.at = At::Away;
                state.travel.took(now.saturating_duration_since(since));
                return Some(now);
            }
            At::Away => {}
        }
        self.at = At::Away;
        // Why alone: beside others it takes its place in the rotation, or a crowd that came a moment before it
        // is served first. Why measured all the same: on one thread nobody is ever seen computing.
        if state.free == self.place.shared.turns && state.travel.is_short() {
            state.free -= 1;
            if self.fresh_since.is_some() {
                state.lanes.begun_at_once(now);
            }
            return Some(now);
        }
        let number = state.lanes.wait_for_turn(self.place.lane, self.fresh_since, waker.clone(), now);
        self.at = At::Queued(number);
        // Why nobody can be passed over: a turn is only free while nobody waits.
        if state.free > 0 {
            state.free -= 1;
            drop(state);
            self.place.shared.pass_on();
        }
        None
    }
}

impl<F: Future + Unpin> Future for InTurn<F> {
    type Output = Result<F::Output, Refused>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(now) = this.take_turn(context.waker()) else { return Poll::Pending };
        let _turn = Turn(&this.place.shared);
        let queue = this.place.shared.queue;
        if this.fresh_since.take().is_some_and(|since| now.saturating_duration_since(since) > queue) {
            return Poll::Ready(Err(Refused::Queue(queue)));
        }
        Pin::new(&mut this.call).poll(context).map(Ok)
    }
}

impl<F> Drop for InTurn<F> {
    fn drop(&mut self) {
        let had_turn = match self.at {
            At::Away => return,
            At::Coming => {
                self.place.shared.lock().lanes.arrive(self.place.lane);
                false
            }
            At::Queued(number) => self.place.shared.lock().lanes.forget(number),
        };
        if had_turn {
            self.place.shared.pass_on();
        }
    }
}

/// A turn that is held; passed on when dropped, by a panic too.
struct Turn<'s>(&'s Shared);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

#[cfg(test)]
mod tests;
