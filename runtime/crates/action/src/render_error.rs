//! Why a value cannot be used at its position in a request: the error of `values`, `url_template`, `mapping` and
//! `render`.

use std::fmt;

use crate::budget::Exceeded;
use crate::escape::EscapeError;
use crate::filter::Unfiltered;
use crate::template::Variable;

/// Why a request cannot be rendered. The message names the variable, never its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderError {
    /// The variable, as `input.id`; empty for an error of the plan itself.
    pub variable: String,
    /// What is wrong with its value.
    pub why: String,
    /// Whether the work would have cost more than it may.
    pub exceeded: bool,
    /// Whether a filter cannot read its value.
    pub unfit: bool,
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variable.is_empty() {
            write!(f, "{} ", self.variable)?;
        }
        f.write_str(&self.why)
    }
}

impl std::error::Error for RenderError {}

impl From<Exceeded> for RenderError {
    fn from(error: Exceeded) -> Self {
        Self::exceeded("what is made here", error)
    }
}

impl RenderError {
    /// An error of a variable, or of the plan itself if its name is empty.
    #[must_use]
    pub const fn new(variable: String, why: String) -> Self {
        Self { variable, why, exceeded: false, unfit: false }
    }
    /// The variable at which the budget ended.
    pub(crate) fn exceeded(variable: impl fmt::Display, error: Exceeded) -> Self {
        Self { exceeded: true, ..Self::new(variable.to_string(), error.to_string()) }
    }
    /// The variable whose filters have no result.
    pub(crate) fn unfiltered(variable: impl fmt::Display, error: &Unfiltered) -> Self {
        Self {
            exceeded: matches!(error, Unfiltered::Exceeded(_)),
            unfit: matches!(error, Unfiltered::Unfit { .. }),
            ..Self::new(variable.to_string(), error.to_string())
        }
    }
    pub(crate) fn at(variable: &Variable, error: &EscapeError) -> Self {
        Self::new(variable.to_string(), error.to_string())
    }
    pub(crate) fn missing(variable: &Variable) -> Self {
        Self::new(variable.to_string(), "has no value".to_owned())
    }
    pub(crate) fn not_scalar(variable: &Variable) -> Self {
        Self::new(variable.to_string(), NOT_SCALAR.to_owned())
    }
    pub(crate) fn input(name: &str, why: impl fmt::Display) -> Self {
        Self::new(format!("input.{name}"), why.to_string())
    }
    pub(crate) fn plan(why: impl fmt::Display) -> Self {
        Self::new(String::new(), why.to_string())
    }
}

/// Refusal of an array or an object.
pub(crate) const NOT_SCALAR: &str = "must be text, a number or a boolean here";
