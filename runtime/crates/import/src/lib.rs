//! From an OpenAPI description (2.0, 3.0, 3.1) to a draft connector definition.
//!
//! A description says what an API accepts; a definition says what a connector may do. The import
//! carries over what both can express and reports the rest, so that a person who finishes the draft
//! knows what to look at. It never fetches anything: a reference to another document is reported,
//! not followed. Whether the draft becomes a connector is decided elsewhere, by a person and by
//! `portcullis_core`.
//!
//! Of responses only the way to read them is imported: the success statuses and outputs of the draft are
//! the defaults. The default of what may be left out is mentioned in the input's help and not sent: in an
//! update it would overwrite the existing value.

#![allow(missing_docs, reason = "an internal crate: comments stand where the name does not say it")]
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

use portcullis_core::limits::Limits;
use serde_json::Value;

mod bases;
mod body;
mod context;
mod draft;
mod form;
mod headers;
mod inputs;
mod limits;
mod media;
mod names;
mod operation;
mod parameters;
mod read;
mod refs;
mod report;
mod response;
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

/// Options of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// The connector's id; made from the title when absent.
    pub connector_id: Option<String>,
    /// Base URL of the API, such as `https://api.example.com/v1`. It replaces the description's
    /// servers; if it has no path, the path of a relative server is appended. It may
    /// contain `{variables}`, which become config fields.
    pub base_url: Option<String>,
    /// Maximum actions of the draft.
    pub actions_max: usize,
    /// Maximum inputs of one action.
    pub inputs_max: usize,
    /// Maximum size of the draft, bytes of JSON; an upload accepts as many.
    pub definition_bytes_max: u64,
    /// The other limits of an upload, by which the draft is checked.
    pub limits: Limits,
    /// Operations to import: `operationId`s or `METHOD /path`, with `*` for any text. Empty means all.
    pub only: Vec<String>,
}

impl ImportOptions {
    /// Options whose draft an upload under these limits accepts.
    #[must_use]
    pub fn within(limits: &Limits) -> Self {
        let most = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            connector_id: None,
            base_url: None,
            actions_max: most(limits.actions_per_connector).min(ACTIONS_MAX_DEFAULT),
            inputs_max: most(limits.inputs_per_action).min(INPUTS_MAX_DEFAULT),
            definition_bytes_max: limits.definition_bytes,
            limits: limits.clone(),
            only: Vec::new(),
        }
    }
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self::within(&Limits::default())
    }
}

/// The result of an import.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The draft, a connector definition document of format version 1.
    pub definition: Value,
    /// What was not imported, or was changed.
    pub report: Report,
}

/// Why there is no draft.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The text is longer than the limit.
    #[error("the description has {bytes} bytes, the limit is {}", limits::DOCUMENT_BYTES_MAX)]
    TooLarge { bytes: usize },
    /// Neither JSON nor YAML.
    #[error("the description is neither JSON nor YAML: {0}")]
    Syntax(String),
    /// The document is of another kind.
    #[error("this is not an OpenAPI description: it has neither `openapi` nor `swagger`")]
    NotADescription,
    /// An unsupported version.
    #[error("version {0:?} is not read; write 2.0, 3.0.x or 3.1.x")]
    Version(String),
    /// An invalid `connector_id`.
    #[error("connector_id {0:?} must match ^[a-z0-9][a-z0-9_-]{{0,62}}$")]
    ConnectorId(String),
    /// No host that a connector may use.
    #[error("{0}; pass base_url, such as https://api.example.com/v1")]
    BaseUrl(String),
    /// No operation could be imported.
    #[error("none of {total} operations could be carried: {why}")]
    NoOperation {
        /// Number of operations in the description.
        total: usize,
        /// The last reason.
        why: String,
    },
}

/// Makes a draft from a description.
///
/// # Errors
/// [`ImportError`] if no draft can be made.
pub fn import(document: &Value, options: &ImportOptions) -> Result<Imported, ImportError> {
    draft::draft(document, options)
}
