//! From an OpenAPI description (2.0, 3.0, 3.1) to a draft connector definition.
//!
//! A description tells what an API accepts; a definition tells what a connector may do. The import
//! carries over what both can say and reports the rest, so that a person who finishes the draft
//! knows what to look at. It never fetches anything: a reference to another document is reported,
//! not followed. Whether the draft becomes a connector is decided elsewhere, by a person and by
//! `portcullis_core`.
//!
//! Answers are not carried: the success statuses and outputs of the draft are the defaults. A
//! default of a body member is told in the input's help and not sent: in an update it would
//! overwrite what is there.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests fail by panicking"
    )
)]

use serde_json::Value;

mod bases;
mod body;
mod context;
mod draft;
mod form;
mod inputs;
mod limits;
mod media;
mod names;
mod operation;
mod parameters;
mod read;
mod refs;
mod report;
mod schema;
mod security;
mod select;
mod servers;
mod shape;
mod url;
mod value;

#[cfg(test)]
mod tests;

pub use limits::{ACTIONS_MAX_DEFAULT, INPUTS_MAX_DEFAULT};
pub use read::read;
pub use report::{Operations, Report, ReportItem};

/// What a person may say about an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// The connector's id; made from the title when absent.
    pub connector_id: Option<String>,
    /// Where the API is, such as `https://api.example.com/v1`. It stands in for the description's
    /// servers; the path of a relative server is appended where it has no path of its own. It may
    /// hold `{variables}`, which become config fields.
    pub base_url: Option<String>,
    /// Most actions of the draft.
    pub actions_max: usize,
    /// Most inputs of one action.
    pub inputs_max: usize,
    /// What to carry: `operationId`s or `METHOD /path`, with `*` for any text. Empty means all.
    pub only: Vec<String>,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            connector_id: None,
            base_url: None,
            actions_max: ACTIONS_MAX_DEFAULT,
            inputs_max: INPUTS_MAX_DEFAULT,
            only: Vec::new(),
        }
    }
}

/// What an import gave.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The draft, a connector definition document of format version 1.
    pub definition: Value,
    /// What was not carried, and what was changed on the way.
    pub report: Report,
}

/// Why there is no draft.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// More text than is read.
    #[error("the description has {bytes} bytes, the limit is {}", limits::DOCUMENT_BYTES_MAX)]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Neither JSON nor YAML.
    #[error("the description is neither JSON nor YAML: {0}")]
    Syntax(String),
    /// A document of another kind.
    #[error("this is not an OpenAPI description: it has neither `openapi` nor `swagger`")]
    NotADescription,
    /// A version that is not read.
    #[error("version {0:?} is not read; write 2.0, 3.0.x or 3.1.x")]
    Version(String),
    /// A bad `connector_id`.
    #[error("connector_id {0:?} must match ^[a-z0-9][a-z0-9_-]{{0,62}}$")]
    ConnectorId(String),
    /// No host that a connector may name.
    #[error("{0}; pass base_url, such as https://api.example.com/v1")]
    BaseUrl(String),
    /// Nothing could be carried.
    #[error("none of {total} operations could be carried: {why}")]
    NoOperation {
        /// Operations of the description.
        total: usize,
        /// The last reason that was met.
        why: String,
    },
}

/// Makes a draft of a description.
///
/// # Errors
/// [`ImportError`] when there is nothing that a draft could be made of.
pub fn import(document: &Value, options: &ImportOptions) -> Result<Imported, ImportError> {
    draft::draft(document, options)
}
