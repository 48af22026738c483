//! Logs: one line an event on standard error, text on a terminal, JSON elsewhere.
//!
//! Nothing here scrubs: what is secret has no `Display`, and paths, queries and bodies of requests
//! are never logged in the first place.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging at this level (`error`, `warn`, `info`, `debug`, or a filter such as
/// `info,portcullis_egress=debug`). Does nothing when logging has started already.
pub fn start(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Why ignored: a second start in one process is a test's, and the first one stands.
    let _ = if std::io::stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        builder.json().with_ansi(false).flatten_event(true).try_init()
    };
}
