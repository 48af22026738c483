//! The metrics of the process, as text for scrapers.

use std::sync::Arc;

use axum::body::Body;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Response};
use portcullis_engine::Error;
use portcullis_engine::metrics::{Format, scrape};
use schemars::SchemaGenerator;

use crate::answer::{Answer, Content};
use crate::pieces;
use crate::request::{Context, NoParameters};
use crate::service::Api;

/// Media types without their parameters, for the OpenAPI document.
const MEDIA: [&str; 2] = ["text/plain", "application/openmetrics-text"];

/// The text.
pub(crate) struct MetricsText {
    text: String,
    format: Format,
}

impl Answer for MetricsText {
    fn content(_: &mut SchemaGenerator) -> Content {
        MEDIA.into_iter().map(|media| (media, Some(schemars::json_schema!({ "type": "string" })))).collect()
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        let mut response = Response::new(pieces::body(self.text));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.format.media()));
        Ok(response)
    }
}

/// The metrics of now in the format that `accept` asks for.
pub(crate) async fn text(api: &Arc<Api>, accept: &str) -> Result<MetricsText, Error> {
    let format = Format::accepted(accept);
    Ok(MetricsText { text: scrape(&api.engine, api.outside(), format).await?, format })
}

pub(crate) async fn metrics(context: Context, _: NoParameters, (): ()) -> Result<MetricsText, Error> {
    // Why here, too: a use case checks its caller itself, and the engine's has none.
    context.caller()?.authorise(portcullis_engine::caller::PLATFORM, None, None)?;
    text(&context.api, context.header(ACCEPT.as_str()).unwrap_or_default()).await
}
