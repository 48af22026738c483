//! The report of an import: what was not imported or was changed, where, and why.

use serde::Serialize;

use crate::limits::{POINTER_BYTES_MAX, REPORT_ITEMS_MAX};

/// One difference between draft and description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportItem {
    /// JSON pointer (RFC 6901) into the description.
    pub pointer: String,
    /// Stable snake_case code.
    pub code: &'static str,
    /// What it is and how the import treated it.
    pub message: String,
}

/// Number of operations by result. `total` is the sum of the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Operations {
    /// In the description.
    pub total: usize,
    /// In the draft.
    pub carried: usize,
    /// Not in the draft; each has an item.
    pub left_out: usize,
    /// Not selected by `ImportOptions::only`.
    pub not_selected: usize,
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Operations and inputs in the draft, together.
    pub carried: usize,
    /// What was not imported or was changed, in the order of the description; counts come last.
    pub items: Vec<ReportItem>,
    /// Number of operations by result.
    pub operations: Operations,
}

/// Collects items; bounded.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    items: Vec<ReportItem>,
    tallies: Vec<Tally>,
    cut: usize,
}

/// Something so frequent that one item with a count says more than an item each.
#[derive(Debug)]
struct Tally {
    code: &'static str,
    what: &'static str,
    first: String,
    count: usize,
}

impl Collector {
    pub(crate) fn add(&mut self, pointer: &str, code: &'static str, message: impl Into<String>) {
        if self.items.len() >= REPORT_ITEMS_MAX {
            self.cut += 1;
            return;
        }
        self.items.push(ReportItem { pointer: bounded(pointer), code, message: message.into() });
    }

    /// Counts one more of `code`; `what` is the sentence that follows the count.
    pub(crate) fn tally(&mut self, pointer: &str, code: &'static str, what: &'static str) {
        match self.tallies.iter_mut().find(|t| t.code == code) {
            Some(tally) => tally.count += 1,
            None => self.tallies.push(Tally { code, what, first: bounded(pointer), count: 1 }),
        }
    }

    pub(crate) fn last_message(&self) -> Option<&str> {
        self.items.last().map(|item| item.message.as_str())
    }

    /// Number of items, for [`Self::rewind`].
    pub(crate) fn mark(&self) -> usize {
        self.items.len()
    }

    /// Drops the items since `mark`: they concern something that is left out completely.
    pub(crate) fn rewind(&mut self, mark: usize) {
        self.items.truncate(mark);
    }

    pub(crate) fn finish(mut self, operations: Operations, inputs: usize) -> Report {
        for tally in self.tallies {
            let message = format!("{} times, first here: {}", tally.count, tally.what);
            self.items.push(ReportItem { pointer: tally.first, code: tally.code, message });
        }
        if self.cut > 0 {
            let message = format!("{} more items are not listed; the limit is {REPORT_ITEMS_MAX}", self.cut);
            self.items.push(ReportItem { pointer: String::new(), code: "report_cut", message });
        }
        Report { carried: operations.carried + inputs, items: self.items, operations }
    }
}

/// The pointer, or that of its nearest ancestor that is not too long.
fn bounded(pointer: &str) -> String {
    let mut pointer = pointer;
    while pointer.len() > POINTER_BYTES_MAX {
        pointer = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    pointer.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_bounded_and_says_so() {
        let mut collector = Collector::default();
        for _ in 0..REPORT_ITEMS_MAX + 5 {
            collector.add("/a", "x", "y");
        }
        let report = collector.finish(Operations::default(), 0);
        assert_eq!(report.items.len(), REPORT_ITEMS_MAX + 1);
        assert_eq!(report.items.last().unwrap().code, "report_cut");
    }

    #[test]
    fn counts_come_last_with_their_first_place() {
        let mut collector = Collector::default();
        collector.tally("/1", "often", "a thing");
        collector.tally("/2", "often", "a thing");
        collector.add("/3", "once", "a thing");
        let report = collector.finish(Operations::default(), 0);
        assert_eq!(report.items[1].pointer, "/1");
        assert_eq!(report.items[1].message, "2 times, first here: a thing");
    }

    #[test]
    fn a_long_pointer_is_cut_to_an_ancestor() {
        assert_eq!(bounded(&format!("/a/{}", "x".repeat(POINTER_BYTES_MAX))), "/a");
        assert_eq!(bounded("/a/b"), "/a/b");
    }
}
