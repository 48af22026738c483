//! Printing: the one place that writes to the terminal.

use std::io::Write as _;

/// A line on standard output. A closed pipe ends quietly.
pub fn line(text: &str) {
    // Why ignored: whoever closed the pipe does not want the rest.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// A remark on standard error, beside a result on standard output.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A message on standard error.
pub fn error(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "portcullis: {text}");
}
