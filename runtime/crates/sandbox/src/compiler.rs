//! Compilation of components that somebody else made, in a process of its own: what the compiler takes, and what a
//! mistake of the compiler could do, ends with that process.
//!
//! The process is this program again. It gets the component through its standard input, limits itself before it reads,
//! and returns machine code through its standard output. One runs at a time.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use portcullis_core::limits::Limits;
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use tokio::sync::Semaphore;
use wasmtime::Engine;

use crate::engine::module_config;

/// The command with which this program compiles a component.
pub const COMPILE_COMMAND: &str = "compile-module";
/// Largest machine code that is read; it is a few times larger than the component.
const CODE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Most bytes of the compiler's own words.
const WORDS_BYTES_MAX: u64 = 2000;
/// Processor time beyond the limit on the wall, seconds.
const CPU_SECONDS_MORE: u64 = 5;
/// How much less processor a compilation gets than calls: the lowest priority.
const NICE: i32 = 19;

/// Why a component was not compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The component is invalid, or uses what is switched off.
    #[error("{0}")]
    Invalid(String),
    /// It took too long.
    #[error("compiling it took longer than {0} s (limits.module_compile_ms)")]
    Timeout(u64),
    /// The process ended without saying why: it used up its memory or its time.
    #[error("the compiler ended without a result; it may take {0} MiB (limits.module_compile_bytes)")]
    Ended(u64),
    /// The process could not be started.
    #[error("the compiler cannot be started: {0}")]
    NotStarted(String),
}

/// Machine code and what it took to make it.
#[derive(Debug)]
pub struct Compiled {
    pub(crate) code: Vec<u8>,
    /// How long it took.
    pub took: Duration,
}

impl Compiled {
    /// Size of the machine code, bytes.
    #[must_use]
    pub fn native_bytes(&self) -> u64 {
        self.code.len() as u64
    }
}

/// Starts compilers, one at a time.
#[derive(Clone)]
pub struct ModuleCompiler {
    program: Arc<PathBuf>,
    limits: Arc<Limits>,
    turn: Arc<Semaphore>,
}

impl ModuleCompiler {
    /// A compiler that starts this program, which must understand [`COMPILE_COMMAND`].
    #[must_use]
    pub fn new(program: PathBuf, limits: Arc<Limits>) -> Self {
        Self { program: Arc::new(program), limits, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Compiles a component; waits while another one is compiled.
    ///
    /// # Errors
    /// [`CompileError`].
    pub async fn compile(&self, bytes: Arc<[u8]>) -> Result<Compiled, CompileError> {
        let ended = |_| CompileError::NotStarted("the process stops".to_owned());
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| ended(()))?;
        let (program, limits) = (Arc::clone(&self.program), Arc::clone(&self.limits));
        let compiling = tokio::task::spawn_blocking(move || {
            let compiled = compile_in_child(&program, &limits, &bytes);
            drop(turn);
            compiled
        });
        compiling.await.map_err(|_| ended(()))?
    }
}

/// Why a wrapper: whatever happens here, the child is gone afterwards.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // Why ignored: it may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn compile_in_child(program: &PathBuf, limits: &Limits, bytes: &Arc<[u8]>) -> Result<Compiled, CompileError> {
    let started = Instant::now();
    let not_started = |error: io::Error| CompileError::NotStarted(error.to_string());
    let seconds = limits.module_compile_ms.div_ceil(1000);
    // Why more: the server's own time limit ends the process first; this one is for a server that was killed.
    let cpu_seconds = seconds + CPU_SECONDS_MORE;
    let child = Command::new(program)
        .arg(COMPILE_COMMAND)
        .args(["--memory-bytes", &limits.module_memory_bytes.to_string()])
        .args(["--address-bytes", &limits.module_compile_bytes.to_string()])
        .args(["--cpu-seconds", &cpu_seconds.to_string()])
        // Why: what this process was told, tokens and keys included, is not for the compiler.
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(not_started)?;
    let mut child = Reaped(child);
    let (stdin, stdout, stderr) = (child.0.stdin.take(), child.0.stdout.take(), child.0.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
        return Err(CompileError::NotStarted("it has no pipes".to_owned()));
    };
    let given = Arc::clone(bytes);
    // Why ignored: a compiler that does not read to the end says why itself.
    std::thread::spawn(move || drop(stdin.write_all(&given)));
    let (done, result) = sync_channel(1);
    std::thread::spawn(move || {
        let mut code = Vec::new();
        let read = stdout.take(CODE_BYTES_MAX + 1).read_to_end(&mut code);
        let mut words = String::new();
        // Why ignored: without its words there is still the result.
        let _ = stderr.take(WORDS_BYTES_MAX).read_to_string(&mut words);
        // Why ignored: nobody waits any more.
        let _ = done.send(read.map(|_| (code, words)));
    });
    let (code, words) = match result.recv_timeout(Duration::from_millis(limits.module_compile_ms)) {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => return Err(not_started(error)),
        Err(RecvTimeoutError::Timeout) => return Err(CompileError::Timeout(seconds)),
        Err(RecvTimeoutError::Disconnected) => return Err(CompileError::Ended(mebibytes(limits))),
    };
    let status = child.0.wait().map_err(not_started)?;
    if status.success() && !code.is_empty() && code.len() as u64 <= CODE_BYTES_MAX {
        return Ok(Compiled { code, took: started.elapsed() });
    }
    if status.code() == Some(1) && !words.trim().is_empty() {
        return Err(CompileError::Invalid(words.trim().to_owned()));
    }
    Err(CompileError::Ended(mebibytes(limits)))
}

const fn mebibytes(limits: &Limits) -> u64 {
    limits.module_compile_bytes / (1024 * 1024)
}

/// The bounds of a compiling process.
#[derive(Debug, Clone, Copy)]
pub struct CompilerBounds {
    /// Largest memory of an instance, bytes: it decides about the machine code.
    pub memory_bytes: u64,
    /// Address space of the process, bytes.
    pub address_bytes: u64,
    /// Processor time of the process, seconds.
    pub cpu_seconds: u64,
}

/// The compiling process: reads a component from standard input and writes machine code to standard output.
///
/// # Errors
/// What is wrong, for standard error.
pub fn compile_stdin(bounds: CompilerBounds) -> Result<(), String> {
    let failed = |error: rustix::io::Errno| format!("the compiler cannot limit itself: {error}");
    // Why first: a compiler whose server was killed has nobody to compile for.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
    for (resource, limit) in
        [(Resource::Cpu, bounds.cpu_seconds), (Resource::As, bounds.address_bytes), (Resource::Core, 0)]
    {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) }).map_err(failed)?;
    }
    // Why ignored: it is a courtesy to the calls of others.
    let _ = rustix::process::nice(NICE);
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let engine =
        Engine::new(&module_config(bounds.memory_bytes, true)).map_err(|error| format!("{error:#}"))?;
    let code = engine.precompile_component(&bytes).map_err(|error| format!("{error:#}"))?;
    io::stdout().lock().write_all(&code).map_err(|error| error.to_string())
}
