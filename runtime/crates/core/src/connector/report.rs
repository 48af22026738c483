//! What the checks of a definition share: what they found, what is compiled once, and what checking may cost.

use std::collections::BTreeSet;

use portcullis_action::budget::Budget;
use portcullis_action::compile::Compiler;
use portcullis_action::template::{Filter, Tables, tables_of};

use crate::tables;
use crate::violation::{Violation, Violations};

/// Whether one of these violations is about what this pointer names, or about something inside of it.
pub(super) fn is_broken_in(errors: &Violations, at: &str) -> bool {
    let inside = |rest: &str| rest.is_empty() || rest.starts_with('/');
    errors.iter().any(|found| found.pointer.strip_prefix(at).is_some_and(inside))
}

/// Collects what the checks find, compiles what is compiled once, and has what checking may cost.
pub(super) struct Report<'a> {
    pub(super) errors: &'a mut Violations,
    pub(super) warnings: &'a mut Violations,
    pub(super) compiler: &'a mut Compiler,
    pub(super) budget: &'a Budget,
    /// Tables that the action being checked looks into.
    pub(super) lookups: BTreeSet<String>,
    /// Tables that something looks into.
    pub(super) tables_used: BTreeSet<String>,
}

impl Report<'_> {
    pub(super) fn error(
        &mut self,
        pointer: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) {
        self.errors.push(Violation::new(pointer, code, message));
    }

    /// Whether this object, or something in it, was refused already: what is missing from it may be missing for that.
    pub(super) fn is_broken_in(&self, at: &str) -> bool {
        is_broken_in(self.errors, at)
    }

    pub(super) fn warn(
        &mut self,
        pointer: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) {
        self.warnings.push(Violation::new(pointer, code, message));
    }

    /// Checks that the tables exist that filters look into.
    pub(super) fn lookups(&mut self, filters: &[Filter], known: &Tables, pointer: &str) {
        for table in tables_of(filters) {
            self.lookups.insert(table.to_owned());
            self.tables_used.insert(table.to_owned());
        }
        let names = known.keys().map(String::as_str);
        if let Some(message) = tables::unknown(filters, |name| known.contains_key(name), names, self.errors) {
            self.error(pointer, "unknown_reference", message);
        }
    }
}
