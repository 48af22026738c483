//! Logs: one line per event on standard error, text on a terminal, JSON elsewhere.
//!
//! Nothing here scrubs: secrets have no `Display`, and paths, queries and bodies of requests
//! are never logged in the first place.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging at this level (`error`, `warn`, `info`, `debug`, or a filter such as
/// `info,portcullis_egress=debug`). Does nothing if logging has started already.
pub(crate) fn start(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Why ignored: only tests start it twice in one process, and the first start is kept.
    let _ = if std::io::stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        builder.json().with_ansi(false).flatten_event(true).try_init()
    };
}
