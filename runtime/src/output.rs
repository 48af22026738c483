//! Printing: the only code that writes to the terminal.
//!
//! A command writes directly, and waits for its reader like any program. A server must not: from
//! [`write_errors_behind`] on, a thread writes standard error, and nobody else waits for it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

mod line_queue;

pub(crate) use line_queue::LineQueue;

/// How long the last lines may take at the end of the process.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Standard error, once a thread writes it.
static BEHIND: OnceLock<Arc<LineQueue>> = OnceLock::new();

/// A line on standard output. A closed pipe ends quietly.
pub(crate) fn line(text: &str) {
    // Why ignored: the reader that closed the pipe does not want the rest.
    let _ = shown(text);
}

/// A line on standard output that must have arrived.
///
/// # Errors
/// Those of the output: nobody has seen the line.
pub(crate) fn shown(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// A line on standard output that nobody may be reading: it is not waited for.
pub(crate) fn announce(text: String) {
    let announced = std::thread::Builder::new().name("announce".to_owned()).spawn(move || line(&text));
    if let Err(error) = announced {
        tracing::warn!(%error, "the first line could not be written to standard output");
    }
}

/// A note on standard error, beside a result on standard output.
pub(crate) fn note(text: &str) {
    match BEHIND.get() {
        Some(queue) => queue.push(format!("{text}\n").as_bytes()),
        None => {
            // Why ignored: there is nobody left to tell.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }
}

/// A message on standard error.
pub(crate) fn error(text: &str) {
    note(&format!("portcullis: {text}"));
}

/// A warning on standard error.
pub(crate) fn warning(text: &str) {
    error(&format!("warning: {text}"));
}

/// From here on a thread writes standard error. `report` is told, on that thread, how many lines were lost before it
/// could write again.
///
/// # Errors
/// Those of the operating system: no descriptor or thread is available.
pub(crate) fn write_errors_behind(report: impl Fn(u64) + Send + 'static) -> io::Result<Arc<LineQueue>> {
    // Why not through std's handle: the thread may wait for ever in a write, and the handle's lock with it.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let queue = LineQueue::start(stderr, report)?;
    Ok(Arc::clone(BEHIND.get_or_init(|| queue)))
}

/// Waits a moment for the last lines of standard error.
pub(crate) fn finish() {
    if let Some(queue) = BEHIND.get() {
        queue.wait_until_written(LAST_LINES);
    }
}
