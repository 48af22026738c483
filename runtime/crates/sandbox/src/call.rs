//! One call: a fresh store and instance, the run of the guest, and what it used. Opens no connection; the
//! guest's requests go to the given [`Outbound`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::limits::Limits;
use portcullis_core::outbound::Outbound;
use portcullis_core::sync::lock;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use crate::bindings::exports::portcullis::connector::handler;
use crate::bounds::Bounds;
use crate::call_state::CallState;
use crate::engine::{Sandbox, TICK};
use crate::fault::SandboxFault;
use crate::guest_limits::{GuestLimits, OwnLimits};
use crate::guest_log::GuestLog;
use crate::module::Module;

/// Longest failure text kept, bytes. The guest wrote it, so it cannot be relied on.
const MESSAGE_BYTES_MAX: usize = 1024;

/// What goes with an output or a request besides its own bytes: members of records, lengths.
const AROUND_BYTES: u64 = 64 * 1024;
/// What the engine says of a guest that hands over more than the host takes; its error has no type of its own.
const COPIES_TOO_MUCH: &str = "fuel allocated for hostcalls";

/// Arguments of one call.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The action's id.
    pub operation: String,
    /// Action plan, JSON.
    pub plan: String,
    /// Checked input, JSON object.
    pub input: String,
    /// Non-secret values of the connection, JSON object.
    pub config: String,
    pub run_id: String,
    /// Time of the call, milliseconds since 1970.
    pub now_ms: u64,
    /// The same in every attempt of the run.
    pub idempotency_key: Option<String>,
}

impl Invocation {
    /// Bytes that the guest gets.
    fn bytes(&self) -> u64 {
        [&self.operation, &self.plan, &self.input, &self.config, &self.run_id]
            .into_iter()
            .chain(&self.idempotency_key)
            .map(|text| text.len() as u64)
            .sum()
    }
}

/// What a call used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Instructions executed.
    pub fuel: u64,
    /// Highest linear memory, bytes.
    pub memory_peak_bytes: u64,
    /// Bytes of the lines that it wrote.
    pub log_bytes: u64,
    /// Microseconds without the time spent waiting for the gate; with instantiation.
    pub guest_us: u64,
}

/// A failure that the guest returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestFailure {
    pub code: String,
    /// Shortened.
    pub message: String,
    /// The class of the upstream's error.
    pub class: Option<String>,
    /// Whether another attempt may succeed, as the guest says.
    pub retryable: bool,
    /// The upstream's response as JSON.
    pub response: Option<String>,
}

impl GuestFailure {
    /// The failure of a guest that could not say what failed.
    #[must_use]
    pub fn unsaid() -> Self {
        Self {
            code: "unhandled".to_owned(),
            message: "the guest did not handle an error of the gate".to_owned(),
            class: None,
            retryable: false,
            response: None,
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallEnd {
    /// The guest's output or failure, or why the host ended it.
    pub result: Result<Result<String, GuestFailure>, SandboxFault>,
    pub usage: Usage,
    /// The lines that it wrote.
    pub log: GuestLog,
}

impl CallEnd {
    /// Bytes of what the guest returned.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.result {
            Ok(Ok(output)) => output.len(),
            Ok(Err(failure)) => failure.response.as_ref().map_or(0, String::len),
            Err(_) => 0,
        }
    }
}

impl Sandbox {
    /// Runs one call in a fresh instance. Dropping the future ends it.
    pub async fn call(
        &self,
        module: &Module,
        invocation: Invocation,
        outbound: Arc<dyn Outbound>,
    ) -> CallEnd {
        self.call_within(module, OwnLimits::default(), invocation, outbound).await
    }

    /// As [`Self::call`], with limits of the definition below those of the platform.
    pub async fn call_within(
        &self,
        module: &Module,
        own: OwnLimits,
        invocation: Invocation,
        outbound: Arc<dyn Outbound>,
    ) -> CallEnd {
        let started = Instant::now();
        let guest = self.guest.lowered(own);
        let mut store = self.store(outbound, &guest);
        let given_bytes = invocation.bytes();
        let result = self.run(&mut store, module, invocation, &guest).await;
        let state = store.data();
        if let Some(wasi) = &state.wasi {
            wasi.end();
        }
        let log = std::mem::take(&mut *lock(&state.log)).ended();
        let usage = Usage {
            log_bytes: log.bytes,
            fuel: guest.fuel.saturating_sub(store.get_fuel().unwrap_or_default()),
            memory_peak_bytes: state.bounds.memory_peak_bytes as u64,
            guest_us: u64::try_from(started.elapsed().saturating_sub(state.waited).as_micros())
                .unwrap_or(u64::MAX),
        };
        let state = store.data();
        let result = result.map_err(|fault| self.explained(fault, state, &guest, given_bytes));
        CallEnd { result, usage, log }
    }

    /// The fault of a call that was too large: what was too large, and the limit.
    fn explained(
        &self,
        fault: SandboxFault,
        state: &CallState,
        guest: &GuestLimits,
        given_bytes: u64,
    ) -> SandboxFault {
        // Why: an ordinary text is no reason for a guest to compute for long.
        let is_large = state.answered_bytes.unwrap_or(given_bytes) > self.limits.inline_bytes;
        let (limit, max) = match &fault {
            SandboxFault::Trapped(_) if state.bounds.memory_denied => {
                if guest.is_module {
                    let (limit, max) = (guest.names.memory, guest.memory_bytes);
                    return SandboxFault::OutOfMemory { limit, max };
                }
                (guest.names.memory, guest.memory_bytes)
            }
            SandboxFault::OutOfFuel if is_large => (guest.names.fuel, guest.fuel),
            SandboxFault::OutOfTime if is_large => (guest.names.cpu, guest.cpu_ms),
            _ => return fault,
        };
        match state.answered_bytes {
            Some(bytes) => SandboxFault::AnswerTooLarge { bytes, limit, max },
            None => SandboxFault::InputTooLarge { bytes: given_bytes, limit, max },
        }
    }

    fn store(&self, outbound: Arc<dyn Outbound>, guest: &GuestLimits) -> Store<CallState> {
        let bounds = Bounds::new(guest);
        let tick_ms = u64::try_from(TICK.as_millis()).unwrap_or(1).max(1);
        let state = CallState {
            outbound,
            bounds,
            ticks_left: guest.cpu_ms.div_ceil(tick_ms),
            out_of_time: false,
            waited: Duration::ZERO,
            since: Instant::now(),
            log: Arc::default(),
            wasi: None,
            answered_bytes: None,
            failures_left: self.limits.failed_requests_per_call,
        };
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.bounds);
        store.set_hostcall_fuel(self.copied_bytes_max());
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut context| {
            // Why counted here: ticks are noticed only while the guest computes, so waiting does not count.
            let state = context.data_mut();
            // Why not yet: the tick is one of those that passed while it waited.
            if state.since.elapsed() < TICK / 2 {
                return Ok(UpdateDeadline::Continue(1));
            }
            match state.ticks_left.checked_sub(1) {
                Some(left) => {
                    state.ticks_left = left;
                    Ok(UpdateDeadline::Yield(1))
                }
                None => {
                    state.out_of_time = true;
                    Ok(UpdateDeadline::Interrupt)
                }
            }
        });
        store
    }

    /// Most bytes that the host takes from a guest at once, refused before they are copied: an output, or a request.
    fn copied_bytes_max(&self) -> usize {
        let Limits { guest_output_bytes, request_bytes, request_header_bytes, url_bytes, .. } = *self.limits;
        let request = request_bytes.saturating_add(request_header_bytes).saturating_add(url_bytes);
        let most = guest_output_bytes.max(request).saturating_add(AROUND_BYTES);
        usize::try_from(most).unwrap_or(usize::MAX)
    }

    async fn run(
        &self,
        store: &mut Store<CallState>,
        module: &Module,
        invocation: Invocation,
        guest: &GuestLimits,
    ) -> Result<Result<String, GuestFailure>, SandboxFault> {
        let trapped = |e: wasmtime::Error| SandboxFault::Trapped(format!("{e:#}"));
        store.set_fuel(guest.fuel).map_err(trapped)?;
        let made = module.pre.instantiate_async(&mut *store).await;
        let instance = made.map_err(|e| classify(&e, store.data().out_of_time))?;
        let (own, max) = (store.data().bounds.memory_peak_bytes as u64, guest.memory_bytes);
        let input = invocation.input.len() as u64;
        // Why not less: how much more a guest takes depends on what it makes of its input. An input that is larger than
        // the guest's own memory finds no room inside it.
        if !guest.is_module && input > own && own + input > max {
            let bytes = invocation.bytes();
            return Err(SandboxFault::InputTooLarge { bytes, limit: guest.names.memory, max });
        }
        let arguments = handler::Invocation {
            operation: invocation.operation,
            plan: invocation.plan,
            input: invocation.input,
            config: invocation.config,
            run_id: invocation.run_id,
            now_ms: invocation.now_ms,
            idempotency_key: invocation.idempotency_key,
        };
        let answer = instance.portcullis_connector_handler().call_invoke(&mut *store, &arguments).await;
        match answer {
            Ok(Ok(output)) if output.len() as u64 > self.limits.guest_output_bytes => {
                Err(SandboxFault::OutputTooLarge(self.limits.guest_output_bytes))
            }
            Ok(Ok(output)) => Ok(Ok(output)),
            Ok(Err(failure)) => Ok(Err(clean(failure))),
            Err(error) if error.to_string().contains(COPIES_TOO_MUCH) => {
                Err(SandboxFault::OutputTooLarge(self.limits.guest_output_bytes))
            }
            Err(error) => Err(classify(&error, store.data().out_of_time)),
        }
    }
}

/// The fault of an engine error, by its type.
fn classify(error: &wasmtime::Error, out_of_time: bool) -> SandboxFault {
    if error.is::<PoolConcurrencyLimitError>() {
        return SandboxFault::Full;
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => SandboxFault::OutOfFuel,
        Some(Trap::Interrupt) if out_of_time => SandboxFault::OutOfTime,
        Some(trap) => SandboxFault::Trapped(trap.to_string()),
        None => SandboxFault::Trapped(format!("{error:#}")),
    }
}

fn clean(failure: handler::Failure) -> GuestFailure {
    GuestFailure {
        code: cut(failure.code, 64),
        message: cut(failure.message, MESSAGE_BYTES_MAX),
        class: failure.class.map(|class| cut(class, 64)),
        retryable: failure.retryable,
        response: failure.response,
    }
}

/// The first characters of a text that goes to logs and responses, with spaces for control characters.
fn cut(text: String, bytes_max: usize) -> String {
    let mut out = String::new();
    for ch in text.chars() {
        if out.len() + ch.len_utf8() > bytes_max {
            break;
        }
        out.push(if ch.is_control() { ' ' } else { ch });
    }
    out
}
