//! The lines that a module writes: bounded, with control characters escaped.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Bytes kept of one line.
const LINE_BYTES_MAX: usize = 4 * 1024;
/// Bytes kept of the first lines of a call, and of the last ones: 256 KiB together.
const END_BYTES_MAX: usize = 128 * 1024;
/// What a line costs besides its text, so that empty lines have an end, too.
const LINE_COST: usize = 32;

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub level: LogLevel,
    /// Control characters are escaped.
    pub message: String,
}

/// The lines of one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestLog {
    pub lines: Vec<LogLine>,
    /// Bytes that the guest wrote, kept or not.
    pub bytes: u64,
    /// Lines that found no room.
    pub dropped: u64,
    /// Bytes of the first lines.
    first_bytes: usize,
    /// The last lines, once the first have no room.
    last: VecDeque<LogLine>,
    last_bytes: usize,
}

fn cost(line: &LogLine) -> usize {
    line.message.len() + LINE_COST
}

impl GuestLog {
    pub(crate) fn write(&mut self, level: LogLevel, message: &str) {
        self.bytes = self.bytes.saturating_add(message.len() as u64);
        let mut text = String::new();
        for ch in message.chars() {
            if text.len() + ch.len_utf8() > LINE_BYTES_MAX {
                text.push('…');
                break;
            }
            if ch.is_control() { text.extend(ch.escape_default()) } else { text.push(ch) }
        }
        let line = LogLine { level, message: text };
        if self.last.is_empty() && self.first_bytes + cost(&line) <= END_BYTES_MAX {
            self.first_bytes += cost(&line);
            self.lines.push(line);
            return;
        }
        self.last_bytes += cost(&line);
        self.last.push_back(line);
        while self.last_bytes > END_BYTES_MAX {
            let Some(oldest) = self.last.pop_front() else { return };
            self.last_bytes -= cost(&oldest);
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// The log of a call that has ended: its first and last lines, in order.
    pub(crate) fn ended(mut self) -> Self {
        self.lines.extend(std::mem::take(&mut self.last));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_and_a_call_are_bounded_and_control_characters_escaped() {
        let mut log = GuestLog::default();
        log.write(LogLevel::Info, "a\r\n\u{1b}[31mb");
        assert_eq!(log.lines[0].message, "a\\r\\n\\u{1b}[31mb");
        log.write(LogLevel::Debug, &"é".repeat(10_000));
        let long = &log.lines[1].message;
        assert!(long.len() <= LINE_BYTES_MAX + '…'.len_utf8() && long.ends_with('…'));
        for _ in 0..100_000 {
            log.write(LogLevel::Warn, "");
        }
        log.write(LogLevel::Error, "last");
        let log = log.ended();
        assert_eq!(log.lines.last().unwrap().message, "last");
        assert!(log.lines.len() <= 2 * END_BYTES_MAX / LINE_COST);
        assert_eq!(log.lines.len() as u64 + log.dropped, 100_003);
        let kept: usize = log.lines.iter().map(|line| line.message.len()).sum();
        assert!(kept <= 2 * END_BYTES_MAX);
        assert_eq!(log.bytes, 9 + 20_000 + 4);
    }
}
