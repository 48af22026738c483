//! The pure half of a connector action: templates, escaping by position, rendering a request and
//! mapping its answer.
//!
//! Host and guest both need this logic (the guest to make the request, the host to prove where a
//! template can lead before anything runs), so it is written once, here, without I/O, clock or
//! randomness, and compiles for `wasm32-unknown-unknown`. It never sees a credential.

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

pub mod budget;
mod charset;
pub mod compile;
pub mod escape;
pub mod filter;
pub mod given;
pub mod json;
pub mod judge;
pub mod mapping;
pub mod pagination;
pub mod path;
pub mod pattern;
pub mod plan;
pub mod poll;
pub mod predicate;
pub mod render;
mod render_error;
pub mod response;
pub mod retry;
mod scalar;
pub mod template;
pub mod url_template;
pub mod values;
#[cfg(test)]
mod walks;

pub use budget::{Budget, Exceeded};
pub use compile::Compiler;
pub use filter::FilterError;
pub use judge::{Answer, Judge, Outcome, UpstreamError, judge};
pub use pagination::{PageError, Pages};
pub use plan::{ActionPlan, BodyPlan, InputPlace, InputPlan, Method};
pub use render::{RenderError, RenderedRequest, Values};
pub use template::{Filter, Template, TemplateError, parse_filters};
pub use url_template::UrlTemplate;
