//! WASI 0.2 for modules of the profile `std`, interface by interface: enough for the standard libraries of languages
//! to start, and nothing that reaches outside.
//!
//! There is no directory, no variable, no argument and no input. Output goes to the call's log. Clocks are coarse. The
//! interfaces of sockets and of HTTP are not linked: a call of one ends the guest (see [`crate::module`]).

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use portcullis_core::sync::lock;
use tokio::io::AsyncWrite;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{HostMonotonicClock, HostWallClock, WasiClocks, WasiClocksView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView as _};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, async_trait};
use wasmtime_wasi_io::bindings::wasi::io;

use crate::call_state::CallState;
use crate::guest_log::{GuestLog, LogLevel};

/// The step of both clocks. Why so coarse: a fine clock measures what others compute on the same machine.
const CLOCK_STEP: Duration = Duration::from_millis(10);
/// Most random bytes of one call of an interface.
const RANDOM_BYTES_MAX: u64 = 64 * 1024;
/// Handles that one call may hold: streams, pollables, descriptors, errors.
const HANDLES_MAX: usize = 1024;
/// Most bytes of one write.
const WRITE_BYTES_MAX: usize = 64 * 1024;
/// Longest line that is put together from parts, bytes. A longer one is written in pieces.
const LINE_BYTES_MAX: usize = 4 * 1024;

/// What WASI keeps for one call.
pub(crate) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
    outputs: [Output; 2],
}

impl Wasi {
    /// The whole of what a guest finds: see the module.
    pub(crate) fn closed(log: &Arc<Mutex<GuestLog>>) -> Self {
        let outputs = [Output::new(log, LogLevel::Info), Output::new(log, LogLevel::Error)];
        let [stdout, stderr] = outputs.clone();
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        let mut context = WasiCtxBuilder::new();
        context
            .stdout(stdout)
            .stderr(stderr)
            .max_random_size(RANDOM_BYTES_MAX)
            .wall_clock(WallClock)
            .monotonic_clock(MonotonicClock(Instant::now()))
            // Why named: the default of a later version must not open what is closed today.
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .allow_blocking_current_thread(false);
        Self { context: context.build(), table, outputs }
    }

    /// Writes lines that the guest did not end.
    pub(crate) fn end(&self) {
        self.outputs.iter().for_each(Output::end);
    }
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        // Why only now: a module of the profile `pure` never comes here.
        let Wasi { context, table, .. } =
            self.wasi.get_or_insert_with(|| Box::new(Wasi::closed(&self.log))).as_mut();
        WasiCtxView { ctx: context, table }
    }
}

struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

/// Adds the interfaces of the profile `std` that `pure` does not have.
pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    type S = CallState;
    let l = linker;
    io::error::add_to_linker::<S, HasTable>(l, |s| s.ctx().table)?;
    io::poll::add_to_linker::<S, HasTable>(l, |s| s.ctx().table)?;
    io::streams::add_to_linker::<S, HasTable>(l, |s| s.ctx().table)?;
    clocks::wall_clock::add_to_linker::<S, WasiClocks>(l, S::clocks)?;
    clocks::monotonic_clock::add_to_linker::<S, WasiClocks>(l, S::clocks)?;
    random::random::add_to_linker::<S, WasiRandom>(l, S::random)?;
    random::insecure::add_to_linker::<S, WasiRandom>(l, S::random)?;
    random::insecure_seed::add_to_linker::<S, WasiRandom>(l, S::random)?;
    cli::environment::add_to_linker::<S, WasiCli>(l, S::cli)?;
    cli::exit::add_to_linker::<S, WasiCli>(l, S::cli)?;
    cli::stdin::add_to_linker::<S, WasiCli>(l, S::cli)?;
    cli::stdout::add_to_linker::<S, WasiCli>(l, S::cli)?;
    cli::stderr::add_to_linker::<S, WasiCli>(l, S::cli)?;
    cli::terminal_input::add_to_linker::<S, WasiCli>(l, S::cli)?;
    cli::terminal_output::add_to_linker::<S, WasiCli>(l, S::cli)?;
    cli::terminal_stdin::add_to_linker::<S, WasiCli>(l, S::cli)?;
    cli::terminal_stdout::add_to_linker::<S, WasiCli>(l, S::cli)?;
    cli::terminal_stderr::add_to_linker::<S, WasiCli>(l, S::cli)?;
    filesystem::types::add_to_linker::<S, WasiFilesystem>(l, S::filesystem)?;
    filesystem::preopens::add_to_linker::<S, WasiFilesystem>(l, S::filesystem)
}

/// A time, down to whole steps.
fn coarse(time: Duration) -> Duration {
    let step = CLOCK_STEP.as_millis();
    Duration::from_millis(u64::try_from(time.as_millis() / step * step).unwrap_or(u64::MAX))
}

struct WallClock;

impl HostWallClock for WallClock {
    fn resolution(&self) -> Duration {
        CLOCK_STEP
    }

    fn now(&self) -> Duration {
        coarse(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    }
}

/// Counts from the begin of the call.
struct MonotonicClock(Instant);

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl HostMonotonicClock for MonotonicClock {
    fn resolution(&self) -> u64 {
        nanoseconds(CLOCK_STEP)
    }

    fn now(&self) -> u64 {
        nanoseconds(coarse(self.0.elapsed()))
    }
}

/// Standard output or standard error, line by line into the call's log. All streams of one share the unfinished line.
#[derive(Clone)]
struct Output {
    log: Arc<Mutex<GuestLog>>,
    level: LogLevel,
    line: Arc<Mutex<Vec<u8>>>,
}

impl Output {
    fn new(log: &Arc<Mutex<GuestLog>>, level: LogLevel) -> Self {
        Self { log: Arc::clone(log), level, line: Arc::default() }
    }

    fn add(&self, bytes: &[u8]) {
        let mut line = lock(&self.line);
        for &byte in bytes {
            if byte == b'\n' || line.len() >= LINE_BYTES_MAX {
                self.write(&mut line);
            }
            if byte != b'\n' {
                line.push(byte);
            }
        }
    }

    /// Writes a line that has not ended yet.
    fn end(&self) {
        let mut line = lock(&self.line);
        if !line.is_empty() {
            self.write(&mut line);
        }
    }

    fn write(&self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line);
        lock(&self.log).write(self.level, text.trim_end_matches('\r'));
        line.clear();
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    // Why nothing: only a later version of WASI asks for it, and that is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.add(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}
