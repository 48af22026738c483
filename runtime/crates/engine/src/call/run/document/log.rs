//! The lines of a module in the documents of its run.

use portcullis_sandbox::LogLine;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::run::RunLog;

/// The lines of a module.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RunLog")]
pub(super) struct Log<'a> {
    /// In order.
    lines: Vec<Line<'a>>,
    /// How many lines between the first and the last ones are left out.
    omitted: u64,
}

/// A line of a module.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RunLogLine")]
struct Line<'a> {
    /// `debug`, `info`, `warn` or `error`.
    level: &'static str,
    message: &'a str,
}

impl<'a> Log<'a> {
    fn of(log: &'a RunLog, lines: impl Iterator<Item = &'a LogLine>) -> Option<Self> {
        let line = |line: &'a LogLine| Line { level: line.level.as_str(), message: &line.message };
        let lines: Vec<Line<'a>> = lines.map(line).collect();
        let written = log.lines.len() as u64 + log.dropped;
        let omitted = written.saturating_sub(lines.len() as u64);
        (written > 0).then_some(Self { lines, omitted })
    }

    /// Every line that was kept.
    pub(super) fn whole(log: &'a RunLog) -> Option<Self> {
        Self::of(log, log.lines.iter())
    }

    /// The first and the last lines, as a record keeps them.
    pub(super) fn ends(log: &'a RunLog) -> Option<Self> {
        let (first, last) = log.ends();
        Self::of(log, first.iter().chain(last))
    }
}

/// The stored lines of a module.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RunRecordLog")]
pub(super) struct StoredLog {
    /// In order.
    lines: Vec<StoredLine>,
    /// How many lines between the first and the last ones are left out.
    omitted: u64,
}

/// A stored line of a module.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RunRecordLogLine")]
struct StoredLine {
    /// `debug`, `info`, `warn` or `error`.
    level: String,
    message: String,
}
