//! Logs: one line per event on standard error, text on a terminal, JSON elsewhere.
//!
//! Nothing here scrubs: secrets have no `Display`, and paths, queries and bodies of requests
//! are never logged in the first place. Nothing here waits: a thread writes, see [`crate::output`].

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload;

use crate::output::{self, LineQueue};

/// The log of a process.
pub(crate) struct Telemetry {
    queue: Arc<LineQueue>,
    refilter: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>,
}

impl Telemetry {
    /// Starts logging at this level (`error`, `warn`, `info`, `debug`, or a filter such as
    /// `info,portcullis_egress=debug`). From here on a thread writes standard error.
    ///
    /// # Errors
    /// A sentence about the filter or the system.
    pub(crate) fn start(filter: &str) -> Result<Self, String> {
        let filter = parse(filter)?;
        let queue = output::write_errors_behind(|lines| {
            tracing::error!(lines, "log lines were lost: standard error did not take them in time");
        });
        let queue = queue.map_err(|error| format!("the log cannot start: {error}"))?;
        let lines = Arc::clone(&queue);
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(move || Line(Arc::clone(&lines)))
            // They would go to standard error past the queue.
            .log_internal_errors(false);
        // Why ignored: only tests start it twice in one process, and the first start is kept.
        let refilter: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync> =
            if io::stderr().is_terminal() {
                let builder = builder.with_target(false).with_filter_reloading();
                let handle = builder.reload_handle();
                let _ = builder.try_init();
                Box::new(move |filter| handle.reload(filter))
            } else {
                let builder = builder.json().with_ansi(false).flatten_event(true).with_filter_reloading();
                let handle = builder.reload_handle();
                let _ = builder.try_init();
                Box::new(move |filter| handle.reload(filter))
            };
        log_panics();
        Ok(Self { queue, refilter })
    }

    /// Logs by this filter from here on.
    ///
    /// # Errors
    /// A sentence about the filter; the one before stays.
    pub(crate) fn refilter(&self, filter: &str) -> Result<(), String> {
        (self.refilter)(parse(filter)?)
            .map_err(|error| format!("the log's filter cannot be changed: {error}"))
    }

    /// Standard error, as a queue.
    pub(crate) const fn queue(&self) -> &Arc<LineQueue> {
        &self.queue
    }
}

/// Reads a filter.
///
/// # Errors
/// A sentence that quotes it.
pub(crate) fn parse(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(filter).map_err(|error| {
        format!("log is {filter:?}: {error}; write error, warn, info, debug, or such as info,portcullis_egress=debug")
    })
}

/// A panic is an event like others. Why not as std prints it: it would wait for the reader of standard error.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("of another type than text");
        tracing::error!(thread = thread.name().unwrap_or_default(), place, panic = text, "a thread panicked");
    }));
}

/// Takes one formatted event.
struct Line(Arc<LineQueue>);

impl io::Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
