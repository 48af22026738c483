//! State shared by all steps of an import: the description, its dialect, the report and the budget.

use std::collections::HashSet;

use portcullis_action::budget::MATCHING_STEPS;
use portcullis_action::{Budget, Compiler};
use portcullis_core::limits::Limits;
use serde_json::{Map, Value};

use crate::ImportError;
use crate::limits::SCHEMA_STEPS_MAX;
use crate::names::shown;
use crate::operation::LeftOut;
use crate::refs::{self, RefProblem};
use crate::report::Collector;

/// Version of OpenAPI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// 2.0, once named Swagger.
    Two,
    /// 3.0 or 3.1.
    Three,
}

impl Dialect {
    fn of(document: &Value) -> Result<Self, ImportError> {
        // Why numbers too: `swagger: 2.0` in YAML is one.
        let text = |name: &str| match document.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        if let Some(version) = text("swagger") {
            return if version == "2.0" { Ok(Self::Two) } else { Err(ImportError::Version(shown(&version))) };
        }
        let version = text("openapi").ok_or(ImportError::NotADescription)?;
        let known = ["3.0", "3.1"].iter().any(|known| {
            version.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        if known { Ok(Self::Three) } else { Err(ImportError::Version(shown(&version))) }
    }
}

/// An object, and the pointer to where it is defined.
pub(crate) type Part<'a> = (&'a Map<String, Value>, String);

/// The state of one import.
pub(crate) struct Context<'a> {
    pub(crate) root: &'a Value,
    pub(crate) dialect: Dialect,
    pub(crate) report: Collector,
    /// The patterns of the draft, within the limits that an upload has by default.
    pub(crate) compiler: Compiler,
    /// For matching defaults.
    pub(crate) matching: Budget,
    steps_left: usize,
    is_spent: bool,
    loops: HashSet<usize>,
    /// References that lead out of the description, as many as were met, and what was said of the last one.
    outside: (usize, String),
}

impl<'a> Context<'a> {
    pub(crate) fn new(root: &'a Value) -> Result<Self, ImportError> {
        let dialect = Dialect::of(root)?;
        Ok(Self {
            root,
            dialect,
            report: Collector::default(),
            compiler: Compiler::new(Limits::default().compiling()),
            matching: Budget::matching(MATCHING_STEPS),
            steps_left: SCHEMA_STEPS_MAX,
            is_spent: false,
            loops: HashSet::new(),
            outside: (0, String::new()),
        })
    }

    /// The target of a reference, or the value itself; a broken reference is reported.
    pub(crate) fn resolve(&mut self, value: &'a Value, at: &str) -> Option<&'a Value> {
        match refs::resolve(self.root, value) {
            Ok(found) => Some(found),
            Err(problem) => {
                let text = shown(refs::reference(value).unwrap_or_default());
                let message = format!("{text:?} {}", problem.why());
                if problem == RefProblem::External {
                    self.outside = (self.outside.0 + 1, message.clone());
                }
                self.report.add(at, problem.code(), message);
                None
            }
        }
    }

    /// [`Self::resolve`] for a value that must be an object.
    pub(crate) fn object(&mut self, value: &'a Value, at: &str) -> Option<&'a Map<String, Value>> {
        self.resolve(value, at)?.as_object()
    }

    /// [`Self::object`] with the pointer to its actual position.
    pub(crate) fn object_at(&mut self, value: &'a Value, at: &str) -> Option<Part<'a>> {
        let object = self.object(value, at)?;
        Some((object, refs::home(self.root, value).unwrap_or_else(|| at.to_owned())))
    }

    /// How many references led out of the description so far, for [`Self::led_out`].
    pub(crate) fn outside(&self) -> usize {
        self.outside.0
    }

    /// Why what was read since then cannot be known, if a reference led out of the description.
    pub(crate) fn led_out(&self, before: usize) -> Result<(), LeftOut> {
        match &self.outside {
            (now, _) if *now == before => Ok(()),
            (_, message) => Err((RefProblem::External.code(), message.clone())),
        }
    }

    /// What a part of an operation refers to, with the pointer to it.
    ///
    /// # Errors
    /// Why the operation is left out: without that part nobody knows what it needs.
    pub(crate) fn part(&mut self, value: &'a Value, at: &str) -> Result<Option<Part<'a>>, LeftOut> {
        match refs::resolve(self.root, value) {
            Ok(found) => Ok(found
                .as_object()
                .map(|object| (object, refs::home(self.root, value).unwrap_or_else(|| at.to_owned())))),
            Err(problem) => {
                let text = shown(refs::reference(value).unwrap_or_default());
                Err((problem.code(), format!("{text:?} {}", problem.why())))
            }
        }
    }

    /// Whether a recursive schema is met for the first time; it is reported once, however often
    /// it is used.
    pub(crate) fn is_new_loop(&mut self, schema: &Value) -> bool {
        self.loops.insert(std::ptr::from_ref(schema).addr())
    }

    /// Takes `steps` from the budget; false when it is used up.
    pub(crate) fn spend(&mut self, steps: usize, at: &str) -> bool {
        if self.is_spent {
            return false;
        }
        match self.steps_left.checked_sub(steps) {
            Some(left) => self.steps_left = left,
            None => {
                self.is_spent = true;
                let message =
                    format!("more than {SCHEMA_STEPS_MAX} schemas; from here on inputs are untyped");
                self.report.add(at, "schema_budget", message);
            }
        }
        !self.is_spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_are_read_or_refused_by_name() {
        let of = |document: Value| Dialect::of(&document);
        for document in [json!({ "swagger": "2.0" }), json!({ "swagger": 2.0 })] {
            assert_eq!(of(document), Ok(Dialect::Two));
        }
        for version in ["3.0.0", "3.0.3", "3.1.0", "3.1", "3.1.1"] {
            assert_eq!(of(json!({ "openapi": version })), Ok(Dialect::Three), "{version}");
        }
        for version in ["3.2.0", "3.10.0", "4.0.0", "1.2"] {
            assert_eq!(of(json!({ "openapi": version })), Err(ImportError::Version(version.into())));
        }
        assert_eq!(of(json!({ "swagger": "1.2" })), Err(ImportError::Version("1.2".into())));
        assert_eq!(of(json!({})), Err(ImportError::NotADescription));
        assert_eq!(of(json!([])), Err(ImportError::NotADescription));
    }
}
