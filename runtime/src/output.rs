//! Printing: the only code that writes to the terminal.

use std::io::Write as _;

/// A line on standard output. A closed pipe ends quietly.
pub(crate) fn line(text: &str) {
    // Why ignored: the reader that closed the pipe does not want the rest.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// A note on standard error, beside a result on standard output.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A message on standard error.
pub(crate) fn error(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "portcullis: {text}");
}
