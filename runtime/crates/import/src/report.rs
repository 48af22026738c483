//! The report of an import: what was not imported or was changed, where, and why.

use std::collections::HashMap;

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
    items: Vec<Counted>,
    tallies: Vec<Counted>,
    /// Items by what they say; those that stand alone are not in it.
    known: HashMap<(&'static str, String), usize>,
    /// What was met since the last mark, in order.
    since: Vec<Met>,
    cut: usize,
}

/// An item, and how often it was met.
#[derive(Debug)]
struct Counted {
    first: String,
    code: &'static str,
    message: String,
    count: usize,
}

#[derive(Debug, Clone, Copy)]
enum Met {
    Item(usize),
    Tally(usize),
    Cut,
}

impl Collector {
    /// Adds an item; one that says the same as an earlier one is counted there.
    pub(crate) fn add(&mut self, pointer: &str, code: &'static str, message: impl Into<String>) {
        let key = (code, message.into());
        let at = match self.known.get(&key).copied() {
            Some(at) => Some(at),
            None => {
                let at = self.push(pointer, code, key.1.clone());
                at.inspect(|at| {
                    self.known.insert(key, *at);
                })
            }
        };
        self.count(at);
    }

    /// Adds an item that is never counted together with others, because its place is what it says.
    pub(crate) fn add_alone(&mut self, pointer: &str, code: &'static str, message: impl Into<String>) {
        let at = self.push(pointer, code, message.into());
        self.count(at);
    }

    fn push(&mut self, pointer: &str, code: &'static str, message: String) -> Option<usize> {
        let at = self.items.len();
        if at >= REPORT_ITEMS_MAX {
            return None;
        }
        self.items.push(Counted { first: bounded(pointer), code, message, count: 0 });
        Some(at)
    }

    fn count(&mut self, at: Option<usize>) {
        match at.and_then(|at| self.items.get_mut(at).map(|item| (at, item))) {
            Some((at, item)) => {
                item.count += 1;
                self.since.push(Met::Item(at));
            }
            None => {
                self.cut += 1;
                self.since.push(Met::Cut);
            }
        }
    }

    /// Counts one more of `code`; `what` is the sentence that follows the count.
    pub(crate) fn tally(&mut self, pointer: &str, code: &'static str, what: &'static str) {
        let at = self.tallies.iter().position(|tally| tally.code == code).unwrap_or_else(|| {
            let first = bounded(pointer);
            self.tallies.push(Counted { first, code, message: what.to_owned(), count: 0 });
            self.tallies.len() - 1
        });
        if let Some(tally) = self.tallies.get_mut(at) {
            tally.count += 1;
            self.since.push(Met::Tally(at));
        }
    }

    pub(crate) fn last_message(&self) -> Option<&str> {
        self.items.last().map(|item| item.message.as_str())
    }

    /// From here on [`Self::rewind`] takes back.
    pub(crate) fn mark(&mut self) {
        self.since.clear();
    }

    /// Takes back what was met since the mark: it concerns something that is left out completely.
    pub(crate) fn rewind(&mut self) {
        for met in std::mem::take(&mut self.since).into_iter().rev() {
            let (list, at) = match met {
                Met::Item(at) => (&mut self.items, at),
                Met::Tally(at) => (&mut self.tallies, at),
                Met::Cut => {
                    self.cut = self.cut.saturating_sub(1);
                    continue;
                }
            };
            let Some(counted) = list.get_mut(at) else { continue };
            counted.count -= 1;
            // What was met first since the mark is the last of its list by now.
            if counted.count == 0
                && let Some(gone) = list.pop()
            {
                self.known.remove(&(gone.code, gone.message));
            }
        }
    }

    pub(crate) fn finish(self, operations: Operations, inputs: usize) -> Report {
        let said = |item: Counted| {
            let message = match item.count {
                1 => item.message,
                count => format!("{count} times, first here: {}", item.message),
            };
            ReportItem { pointer: item.first, code: item.code, message }
        };
        let mut items: Vec<ReportItem> = self.items.into_iter().map(said).collect();
        items.extend(self.tallies.into_iter().map(|tally| {
            let message = format!("{} times, first here: {}", tally.count, tally.message);
            ReportItem { pointer: tally.first, code: tally.code, message }
        }));
        if self.cut > 0 {
            let message = format!("{} more items are not listed; the limit is {REPORT_ITEMS_MAX}", self.cut);
            items.push(ReportItem { pointer: String::new(), code: "report_cut", message });
        }
        Report { carried: operations.carried + inputs, items, operations }
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
        for number in 0..REPORT_ITEMS_MAX + 5 {
            collector.add("/a", "x", number.to_string());
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
    fn f11_what_is_equal_is_counted_and_what_stands_alone_is_not() {
        let mut collector = Collector::default();
        collector.add("/1", "x", "a");
        collector.add("/2", "x", "a");
        collector.add("/3", "x", "b");
        collector.add("/4", "y", "a");
        collector.add_alone("/5", "z", "c");
        collector.add_alone("/6", "z", "c");
        let items = collector.finish(Operations::default(), 0).items;
        let said: Vec<(&str, &str)> =
            items.iter().map(|item| (item.pointer.as_str(), item.message.as_str())).collect();
        let counted = "2 times, first here: a";
        assert_eq!(said, [("/1", counted), ("/3", "b"), ("/4", "a"), ("/5", "c"), ("/6", "c")]);
    }

    #[test]
    fn what_is_taken_back_leaves_no_trace() {
        let mut collector = Collector::default();
        collector.add("/1", "x", "a");
        collector.tally("/1", "t", "often");
        collector.mark();
        collector.add("/2", "x", "a");
        collector.add("/2", "x", "b");
        collector.tally("/2", "t", "often");
        collector.tally("/2", "u", "often");
        collector.rewind();
        collector.add("/3", "x", "b");
        let items = collector.finish(Operations::default(), 0).items;
        let said: Vec<(&str, &str)> =
            items.iter().map(|item| (item.pointer.as_str(), item.message.as_str())).collect();
        assert_eq!(said, [("/1", "a"), ("/3", "b"), ("/1", "1 times, first here: often")]);
    }

    #[test]
    fn a_long_pointer_is_cut_to_an_ancestor() {
        assert_eq!(bounded(&format!("/a/{}", "x".repeat(POINTER_BYTES_MAX))), "/a");
        assert_eq!(bounded("/a/b"), "/a/b");
    }
}
