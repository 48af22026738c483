//! Why a value cannot be used at its position in a request: the error of `values`, `url_template`, `mapping` and
//! `render`.

use std::fmt;

use crate::escape::EscapeError;
use crate::template::Variable;

/// Why a request cannot be rendered. The message names the variable, never its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderError {
    /// The variable, as `input.id`; empty for an error of the plan itself.
    pub variable: String,
    /// What is wrong with its value.
    pub why: String,
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

impl RenderError {
    pub(crate) fn new(variable: String, why: String) -> Self {
        Self { variable, why }
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
