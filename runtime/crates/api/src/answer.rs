//! Answers: what a handler may return, each with the status, headers and schema for the OpenAPI document.

use axum::body::Body;
use http::header::{CONTENT_TYPE, ETAG, LOCATION};
use http::{HeaderValue, Response, StatusCode};
use portcullis_core::fault::Code;
use portcullis_engine::{Error, Page};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use crate::pieces;

/// A header of an answer, for the OpenAPI document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswerHeader {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
}

const ETAG_HEADER: AnswerHeader =
    AnswerHeader { name: "ETag", description: "The revision in quotes, for If-Match" };
pub(crate) const LOCATION_HEADER: AnswerHeader =
    AnswerHeader { name: "Location", description: "Path of what was created" };

/// The media types of a body with their schemas.
pub(crate) type Content = Vec<(&'static str, Option<Schema>)>;

/// What a handler returns.
pub(crate) trait Answer: Sized + Send {
    /// The status.
    const STATUS: StatusCode = StatusCode::OK;

    /// Other statuses that it may have, with the same body.
    const OTHER_STATUSES: &'static [StatusCode] = &[];

    /// Headers that callers may use.
    const HEADERS: &'static [AnswerHeader] = &[];

    /// The media types of the body with their schemas; empty for an answer without a body.
    fn content(generator: &mut SchemaGenerator) -> Content;

    /// Converts it to the response.
    ///
    /// # Errors
    /// `internal` if the answer cannot be written as JSON; answers always can.
    fn into_response(self) -> Result<Response<Body>, Error>;
}

/// Media type of JSON.
pub(crate) const JSON: &str = "application/json";

/// A response with JSON.
pub(crate) fn json<T: Serialize>(status: StatusCode, body: &T) -> Result<Response<Body>, Error> {
    let text = serde_json::to_string(body).map_err(|_| Error::plain(Code::Internal))?;
    let mut response = Response::new(pieces::body(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    Ok(response)
}

fn with_revision(mut response: Response<Body>, revision: u64) -> Response<Body> {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{revision}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// 200 with JSON.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize + JsonSchema + Send> Answer for Json<T> {
    fn content(generator: &mut SchemaGenerator) -> Content {
        vec![(JSON, Some(generator.subschema_for::<T>()))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        json(StatusCode::OK, &self.0)
    }
}

/// 200 with JSON and an `ETag` of its revision.
pub(crate) struct Versioned<T> {
    pub(crate) body: T,
    pub(crate) revision: u64,
}

impl<T: Serialize + JsonSchema + Send> Answer for Versioned<T> {
    const HEADERS: &'static [AnswerHeader] = &[ETAG_HEADER];

    fn content(generator: &mut SchemaGenerator) -> Content {
        vec![(JSON, Some(generator.subschema_for::<T>()))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        Ok(with_revision(json(StatusCode::OK, &self.body)?, self.revision))
    }
}

/// 201 with JSON and `Location`.
pub(crate) struct Created<T> {
    pub(crate) location: String,
    pub(crate) body: T,
}

impl<T: Serialize + JsonSchema + Send> Answer for Created<T> {
    const STATUS: StatusCode = StatusCode::CREATED;
    const HEADERS: &'static [AnswerHeader] = &[LOCATION_HEADER];

    fn content(generator: &mut SchemaGenerator) -> Content {
        vec![(JSON, Some(generator.subschema_for::<T>()))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        let mut response = json(Self::STATUS, &self.body)?;
        if let Ok(location) = HeaderValue::from_str(&self.location) {
            response.headers_mut().insert(LOCATION, location);
        }
        Ok(response)
    }
}

/// 201 with JSON, `Location`, and an `ETag` of the first revision.
pub(crate) struct CreatedVersioned<T>(pub(crate) Created<T>);

impl<T: Serialize + JsonSchema + Send> Answer for CreatedVersioned<T> {
    const STATUS: StatusCode = StatusCode::CREATED;
    const HEADERS: &'static [AnswerHeader] = &[LOCATION_HEADER, ETAG_HEADER];

    fn content(generator: &mut SchemaGenerator) -> Content {
        Created::<T>::content(generator)
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        Ok(with_revision(self.0.into_response()?, 1))
    }
}

/// 204.
pub(crate) struct NoContent;

impl Answer for NoContent {
    const STATUS: StatusCode = StatusCode::NO_CONTENT;

    fn content(_: &mut SchemaGenerator) -> Content {
        Vec::new()
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = Self::STATUS;
        Ok(response)
    }
}

/// A page of a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub(crate) struct List<T> {
    /// The entries.
    data: Vec<T>,
    /// Whether the list continues: request the next page with `starting_after`.
    has_more: bool,
}

impl<T> List<T> {
    /// The page with each entry converted.
    pub(crate) fn of<E>(page: Page<E>, show: impl FnMut(E) -> T) -> Json<Self> {
        let page = page.map(show);
        Json(Self { data: page.entries, has_more: page.has_more })
    }

    /// As [`Self::of`], for a conversion that may fail.
    pub(crate) fn try_of<E>(
        page: Page<E>,
        show: impl FnMut(E) -> Result<T, Error>,
    ) -> Result<Json<Self>, Error> {
        let data = page.entries.into_iter().map(show).collect::<Result<_, _>>()?;
        Ok(Json(Self { data, has_more: page.has_more }))
    }
}

/// A page of a list that is looked through for a bounded time.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub(crate) struct LongList<T> {
    /// The entries. Fewer than the limit, or none, if a look for more would have taken too long.
    data: Vec<T>,
    /// Whether the list continues: request the next page with `next` as `starting_after`.
    has_more: bool,
    /// Where the next page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl<T> LongList<T> {
    pub(crate) const fn new(data: Vec<T>, next: Option<String>) -> Self {
        Self { data, has_more: next.is_some(), next }
    }
}
