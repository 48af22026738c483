//! The engine: every setting with its reason, and the clock that ends loops. Runs no guest itself.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::limits::Limits;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::address_space::{self, Reservation};
use crate::admission;
use crate::bindings::portcullis::connector::{log, outbound_http};
use crate::call_state::CallState;
use crate::fault::LoadError;
use crate::guest_limits::GuestLimits;
use crate::wasi;

/// Length of one epoch tick. A guest yields to other work at each tick, and is ended after `guest_cpu_ms` of
/// computing. Why 3 ms: no task may compute for 10 ms at a time, and the guest is not all that a poll of its call
/// computes.
pub(crate) const TICK: Duration = Duration::from_millis(3);

/// Host stack of one call: wasm frames and the host functions they call.
pub(crate) const ASYNC_STACK_BYTES: usize = 1024 * 1024;
/// The part of it for wasm frames; deeper recursion traps.
const WASM_STACK_BYTES: usize = 512 * 1024;
/// The part of a slot that is cleared by writing zeroes. Returning its pages to the system instead would cost
/// an inter-processor interrupt per call.
const KEEP_RESIDENT_BYTES: usize = 2 * 1024 * 1024;
/// Core instances inside one component: the guest, and the shims and adapters it was composed with
/// (three for the generic handler).
const CORE_INSTANCES_PER_COMPONENT: u32 = 10;
/// Tables inside one component.
pub(crate) const TABLES_PER_COMPONENT: u32 = 4;

/// The interface for a module's lines.
const LOG: &str = "portcullis:connector/log@0.1.0";
/// What the handler that serves every HTTP connector may import.
const HANDLER_INTERFACES: &[&str] =
    &["portcullis:connector/outbound-http@0.1.0", "portcullis:connector/types@0.1.0"];
/// Address space after a module's memory that is never mapped.
const MODULE_GUARD_BYTES: u64 = 64 * 1024;

/// One engine and its linker. Cloning shares both.
#[derive(Clone)]
pub struct Sandbox {
    pub(crate) engine: Engine,
    pub(crate) linker: Arc<Linker<CallState>>,
    pub(crate) limits: Arc<Limits>,
    /// What one call may take.
    pub(crate) guest: GuestLimits,
    /// The interfaces that a guest may import.
    pub(crate) interfaces: &'static [&'static str],
    /// For modules of the profile `std`.
    pub(crate) std_linker: Option<Arc<Linker<CallState>>>,
    _ticker: Arc<Ticker>,
}

impl Sandbox {
    /// Builds the engine and starts its clock.
    ///
    /// # Errors
    /// [`LoadError::AddressSpace`] when `concurrent_calls` instances do not fit into the address space that the
    /// process may use, and [`LoadError::Engine`] when the machine cannot provide something else.
    pub fn new(limits: Arc<Limits>) -> Result<Self, LoadError> {
        let reservation = address_space::reservation(&limits)?;
        let engine = Engine::new(&config(&limits, reservation)?).map_err(|error| {
            let calls = limits.concurrent_calls;
            LoadError::Engine(format!(
                "{error:#}; limits.concurrent_calls is {calls}, and fewer need less of the system (address space, and \
                 two mappings each: vm.max_map_count)"
            ))
        })?;
        let guest = GuestLimits::handler(&limits);
        Self::with_engine(engine, limits, guest, HANDLER_INTERFACES)
    }

    /// Builds an engine for components that other people made. It shares nothing with the handler's: a module can take
    /// none of its slots, tables and code.
    ///
    /// # Errors
    /// [`LoadError::Engine`] when the machine cannot provide it.
    pub fn for_modules(limits: Arc<Limits>) -> Result<Self, LoadError> {
        let engine = Engine::new(&module_config(limits.module_memory_bytes, false))
            .map_err(|error| LoadError::Engine(format!("{error:#}")))?;
        let guest = GuestLimits::module(&limits);
        let mut sandbox = Self::with_engine(engine, limits, guest, admission::PURE)?;
        let mut linker = (*sandbox.linker).clone();
        wasi::add_to_linker(&mut linker).map_err(|e| LoadError::Engine(format!("{e:#}")))?;
        sandbox.std_linker = Some(Arc::new(linker));
        Ok(sandbox)
    }

    fn with_engine(
        engine: Engine,
        limits: Arc<Limits>,
        guest: GuestLimits,
        interfaces: &'static [&'static str],
    ) -> Result<Self, LoadError> {
        let failed = |e: wasmtime::Error| LoadError::Engine(format!("{e:#}"));
        let mut linker = Linker::new(&engine);
        outbound_http::add_to_linker::<CallState, HasSelf<CallState>>(&mut linker, |state| state)
            .map_err(failed)?;
        if interfaces.contains(&LOG) {
            log::add_to_linker::<CallState, HasSelf<CallState>>(&mut linker, |state| state)
                .map_err(failed)?;
        }
        let ticker = Ticker::start(&engine).map_err(|e| LoadError::Engine(e.to_string()))?;
        Ok(Self {
            engine,
            linker: Arc::new(linker),
            limits,
            guest,
            interfaces,
            std_linker: None,
            _ticker: Arc::new(ticker),
        })
    }
}

/// The engine of modules, the same where they are compiled and where they run. `compiles` is for the process that
/// compiles: one thread, so that calls of others keep theirs.
pub(crate) fn module_config(memory_bytes: u64, compiles: bool) -> Config {
    let mut config = Config::new();
    shared(&mut config);
    config
        // Made and released for each call, so that a module that many calls use holds nothing between them.
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        // No more address space than memory: bounds are checked by code.
        .memory_reservation(memory_bytes)
        .memory_reservation_for_growth(0)
        .memory_guard_size(MODULE_GUARD_BYTES)
        .parallel_compilation(!compiles);
    config
}

/// Settings of both engines.
fn shared(config: &mut Config) {
    config
        // Ends endless loops, and lets other calls run meanwhile.
        .epoch_interruption(true)
        // A deterministic count of instructions for run records, and a second limit on loops.
        .consume_fuel(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(ASYNC_STACK_BYTES)
        // Features that guests do not need are off, for less attack surface.
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_relaxed_simd(false)
        // A copy-on-write image of the initial memory, so that starting a call copies nothing.
        .memory_init_cow(true)
        // The stack frames of a guest are never shown.
        .wasm_backtrace_max_frames(None);
}

fn config(limits: &Limits, reservation: Reservation) -> Result<Config, LoadError> {
    let too_big = |name: &str| LoadError::Engine(format!("limits.{name} does not fit this machine"));
    let calls = u32::try_from(limits.concurrent_calls).map_err(|_| too_big("concurrent_calls"))?;
    let memory = usize::try_from(limits.guest_memory_bytes).map_err(|_| too_big("guest_memory_bytes"))?;
    let table = usize::try_from(limits.guest_table_elements).map_err(|_| too_big("guest_table_elements"))?;

    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(calls.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .total_memories(calls)
        .total_tables(calls.saturating_mul(TABLES_PER_COMPONENT))
        .total_stacks(calls)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(1)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_memory_size(memory)
        .table_elements(table)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(64 * 1024)
        .async_stack_keep_resident(64 * 1024)
        .pagemap_scan(Enabled::Auto);

    let mut config = Config::new();
    shared(&mut config);
    config
        // Pre-allocated slots: an instance needs no mmap.
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        // Decides whether machine code checks its bounds, so kept code of the other way has another identity.
        .memory_reservation(reservation.memory_bytes(limits))
        .memory_guard_size(reservation.guard_bytes());
    Ok(config)
}

/// The thread that advances the epoch; ends with the last [`Sandbox`].
struct Ticker {
    stop: std::sync::mpsc::Sender<()>,
}

impl Ticker {
    fn start(engine: &Engine) -> std::io::Result<Self> {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let weak = engine.weak();
        std::thread::Builder::new().name("portcullis-epoch".to_owned()).spawn(move || {
            use std::sync::mpsc::RecvTimeoutError;
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                let Some(engine) = weak.upgrade() else { return };
                engine.increment_epoch();
            }
        })?;
        Ok(Self { stop })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        // Why ignored: the thread may have ended already.
        let _ = self.stop.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::STD;

    /// Interfaces of WASI 0.2, of the proposals around it, and ours, each with one of its items.
    const KNOWN: &[(&str, &str)] = &[
        ("wasi:cli/command", "run"),
        ("wasi:cli/environment", "get-environment"),
        ("wasi:cli/exit", "exit"),
        ("wasi:cli/run", "run"),
        ("wasi:cli/stderr", "get-stderr"),
        ("wasi:cli/stdin", "get-stdin"),
        ("wasi:cli/stdout", "get-stdout"),
        ("wasi:cli/terminal-input", "terminal-input"),
        ("wasi:cli/terminal-output", "terminal-output"),
        ("wasi:cli/terminal-stderr", "get-terminal-stderr"),
        ("wasi:cli/terminal-stdin", "get-terminal-stdin"),
        ("wasi:cli/terminal-stdout", "get-terminal-stdout"),
        ("wasi:clocks/monotonic-clock", "now"),
        ("wasi:clocks/timezone", "display"),
        ("wasi:clocks/wall-clock", "now"),
        ("wasi:config/store", "get"),
        ("wasi:filesystem/preopens", "get-directories"),
        ("wasi:filesystem/types", "descriptor"),
        ("wasi:http/incoming-handler", "handle"),
        ("wasi:http/outgoing-handler", "handle"),
        ("wasi:http/types", "fields"),
        ("wasi:io/error", "error"),
        ("wasi:io/poll", "poll"),
        ("wasi:io/streams", "input-stream"),
        ("wasi:keyvalue/atomics", "increment"),
        ("wasi:keyvalue/batch", "get-many"),
        ("wasi:keyvalue/store", "open"),
        ("wasi:logging/logging", "log"),
        ("wasi:nn/graph", "load"),
        ("wasi:random/insecure", "get-insecure-random-bytes"),
        ("wasi:random/insecure-seed", "insecure-seed"),
        ("wasi:random/random", "get-random-bytes"),
        ("wasi:sockets/instance-network", "instance-network"),
        ("wasi:sockets/ip-name-lookup", "resolve-addresses"),
        ("wasi:sockets/network", "network"),
        ("wasi:sockets/tcp", "tcp-socket"),
        ("wasi:sockets/tcp-create-socket", "create-tcp-socket"),
        ("wasi:sockets/udp", "udp-socket"),
        ("wasi:sockets/udp-create-socket", "create-udp-socket"),
        ("wasi:tls/types", "client-handshake"),
    ];
    /// Our own.
    const OWN: &[(&str, &str)] = &[
        ("portcullis:connector/log@0.1.0", "log"),
        ("portcullis:connector/outbound-http@0.1.0", "send"),
        ("portcullis:connector/vault@0.1.0", "open"),
    ];
    /// The version of WASI that the WASI crate has.
    const VERSION: &str = "0.2.12";

    /// The interfaces that are linked: an item that is defined cannot be defined again.
    fn linked(linker: &Linker<CallState>) -> Vec<String> {
        let wasi = KNOWN.iter().map(|(name, item)| (format!("{name}@{VERSION}"), *item));
        let own = OWN.iter().map(|(name, item)| ((*name).to_owned(), *item));
        let is_there = |(name, item): &(String, &str)| {
            let mut linker = linker.clone();
            linker.instance(name).unwrap().func_new(item, |_, _, _, _| Ok(())).is_err()
        };
        wasi.chain(own).filter(is_there).map(|(name, _)| name).collect()
    }

    #[test]
    fn a_linker_has_the_interfaces_of_its_profile_and_no_others() {
        let limits = Arc::new(Limits { concurrent_calls: 1, ..Limits::default() });
        let handler = Sandbox::new(Arc::clone(&limits)).unwrap();
        assert_eq!(linked(&handler.linker), ["portcullis:connector/outbound-http@0.1.0"]);
        assert!(handler.std_linker.is_none());
        let modules = Sandbox::for_modules(limits).unwrap();
        let pure = ["portcullis:connector/log@0.1.0", "portcullis:connector/outbound-http@0.1.0"];
        assert_eq!(linked(&modules.linker), pure);
        let std = STD.iter().map(|name| format!("{name}@{VERSION}"));
        let all: Vec<String> = std.chain(pure.map(str::to_owned)).collect();
        assert_eq!(linked(modules.std_linker.as_ref().unwrap()), all);
    }
}
