//! What a handler is given: an authorised request, bounded and parsed as far as every route shares it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawPathParams, Request};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, LOCATION};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Bytes;
use portcullis_core::fault::Code;
use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_core::limits::Limits;
use portcullis_core::violation::{Violation, nearest, step};
use portcullis_store::{OrgRecord, WorkspaceRecord};
use serde_json::{Map, Value};

use crate::api::auth::{self, Principal};
use crate::api::routes::Route;
use crate::app::App;
use crate::clock;
use crate::problem::Problem;
use portcullis_admission::Permit;

/// Bytes of an over-long body that are read and dropped so that the client can finish sending and
/// read its answer.
const DRAIN_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest drain.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// A fresh request id.
pub(super) fn request_id() -> String {
    clock::fresh_text("req")
}

/// An authorised request.
pub struct Ctx {
    /// The process.
    pub app: Arc<App>,
    /// Who asks; absent on open routes.
    pub principal: Option<Principal>,
    /// The request's id.
    pub request_id: String,
    /// Org and workspace of the path, where they were looked up already.
    tenant: Option<(OrgId, WorkspaceId)>,
    params: Vec<(String, String)>,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
}

impl Ctx {
    /// Authenticates, authorises, admits and reads the body, in that order. A place among the calls comes
    /// with the routes that make any.
    pub(super) async fn open(
        app: Arc<App>,
        route: &'static Route,
        params: RawPathParams,
        request: Request,
        request_id: String,
    ) -> Result<(Self, Option<Permit>), Problem> {
        let params: Vec<(String, String)> =
            params.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().map(parse_query).unwrap_or_default();
        let principal =
            if route.roles.is_empty() { None } else { Some(auth::authenticate(&app, &parts.headers).await?) };
        let find = |name: &str| params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        if let Some(principal) = &principal {
            auth::authorise(principal, route.roles, find("org"), find("ws"))?;
        }
        let admitted = match (find("org"), find("ws")) {
            // Why before the body: what is refused costs as little as can be. Why not before the workspace is
            // known to exist: an invented one has no limit of its own.
            (Some(org), Some(workspace)) if route.makes_calls() => {
                let tenant = tenant(&app, org, workspace).await?;
                Some((tenant, app.scheduler.admit(&format!("{org}/{workspace}"))?))
            }
            _ => None,
        };
        let (tenant, place) = admitted.unzip();
        let body = read_body(body, &parts.headers, &app.limits).await?;
        let headers = parts.headers;
        Ok((Self { app, principal, request_id, tenant, params, query, headers, body }, place))
    }

    /// A path parameter; empty when the route has none of that name.
    #[must_use]
    pub fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str())
    }

    /// A query parameter.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A request header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// The principal.
    ///
    /// # Errors
    /// `unauthorized`; only on routes without roles, which have none.
    pub fn principal(&self) -> Result<&Principal, Problem> {
        self.principal.as_ref().ok_or_else(|| Problem::plain(Code::Unauthorized))
    }

    /// The org of the path, which exists.
    ///
    /// # Errors
    /// `org_not_found`.
    pub async fn org(&self) -> Result<OrgId, Problem> {
        org(&self.app, self.param("org")).await
    }

    /// Org and workspace of the path, which exist.
    ///
    /// # Errors
    /// `org_not_found`, `workspace_not_found`.
    pub async fn tenant(&self) -> Result<(OrgId, WorkspaceId), Problem> {
        match &self.tenant {
            Some(known) => Ok(known.clone()),
            None => tenant(&self.app, self.param("org"), self.param("ws")).await,
        }
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// `bad_json` with line and column, `unsupported_media_type`.
    pub fn json(&self) -> Result<Value, Problem> {
        let media =
            self.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/json");
        let media = media.split(';').next().unwrap_or_default().trim();
        if !(media.eq_ignore_ascii_case("application/json") || media.to_ascii_lowercase().ends_with("+json"))
        {
            let detail = format!("send application/json, not {media:?}");
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
        serde_json::from_slice(&self.body).map_err(|e| {
            // Why not the library's message: it may quote the body, and the body may hold a secret.
            let detail = format!("the body is not JSON: line {}, column {}", e.line(), e.column());
            Problem::new(Code::BadJson, detail)
        })
    }

    /// The body as a JSON object with no names but these.
    ///
    /// # Errors
    /// As [`Self::json`], and `validation_failed` listing every unknown name.
    pub fn object(&self, known: &[&str]) -> Result<Map<String, Value>, Problem> {
        let Value::Object(map) = self.json()? else {
            let breach = Violation::new("", "wrong_type", "the body must be an object");
            return Err(Problem::breaches(Code::ValidationFailed, vec![breach]));
        };
        let unknown: Vec<Violation> = map
            .keys()
            .filter(|name| !known.contains(&name.as_str()))
            .map(|name| {
                let hint = nearest(name, known.iter().copied());
                let hint = hint.map_or_else(
                    || format!("; the fields are {}", known.join(", ")),
                    |n| format!("; did you mean {n:?}?"),
                );
                Violation::new(
                    format!("/{}", step(name)),
                    "unknown_field",
                    format!("unknown field {name:?}{hint}"),
                )
            })
            .collect();
        if unknown.is_empty() { Ok(map) } else { Err(Problem::breaches(Code::ValidationFailed, unknown)) }
    }

    /// `limit` (1 to 100, default 50) and `starting_after` of a list.
    ///
    /// # Errors
    /// `bad_request` naming the range.
    pub fn page(&self) -> Result<(usize, Option<&str>), Problem> {
        let limit = match self.query("limit") {
            None => 50,
            Some(text) => text
                .parse::<usize>()
                .ok()
                .filter(|n| (1..=100).contains(n))
                .ok_or_else(|| Problem::new(Code::BadRequest, "limit must be 1 to 100"))?,
        };
        Ok((limit, self.query("starting_after")))
    }

    /// Whether `If-Match`, when given, names this revision.
    ///
    /// # Errors
    /// `revision_mismatch`.
    pub fn if_match(&self, revision: u64) -> Result<(), Problem> {
        match self.headers.get(IF_MATCH).and_then(|v| v.to_str().ok()) {
            None | Some("*") => Ok(()),
            Some(tag) if tag.trim_matches('"') == revision.to_string() => Ok(()),
            Some(_) => {
                Err(Problem::new(Code::RevisionMismatch, format!("the current revision is \"{revision}\"")))
            }
        }
    }
}

/// The org of that id, which exists.
async fn org(app: &App, id: &str) -> Result<OrgId, Problem> {
    let missing = || Problem::plain(Code::OrgNotFound);
    let org = OrgId::parse(id).map_err(|_| missing())?;
    app.records.get_shared::<OrgRecord>(&[org.as_str()]).await?.ok_or_else(missing)?;
    Ok(org)
}

/// The workspace of those ids, which exists.
async fn tenant(app: &App, org_id: &str, workspace_id: &str) -> Result<(OrgId, WorkspaceId), Problem> {
    let missing = || Problem::plain(Code::WorkspaceNotFound);
    let org_id = OrgId::parse(org_id).map_err(|_| Problem::plain(Code::OrgNotFound))?;
    let workspace = WorkspaceId::parse(workspace_id).map_err(|_| missing())?;
    let parts = [org_id.as_str(), workspace.as_str()];
    if app.records.get_shared::<WorkspaceRecord>(&parts).await?.is_none() {
        org(app, org_id.as_str()).await?;
        return Err(missing());
    }
    Ok((org_id, workspace))
}

/// A JSON answer.
#[must_use]
pub fn reply(status: StatusCode, value: &Value) -> Response<Body> {
    reply_text(status, value.to_string())
}

/// An answer whose JSON is written already.
#[must_use]
pub fn reply_text(status: StatusCode, json: String) -> Response<Body> {
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The object with one more member.
#[must_use]
pub fn with(mut object: Value, name: &str, member: Value) -> Value {
    if let Some(map) = object.as_object_mut() {
        map.insert(name.to_owned(), member);
    }
    object
}

/// 200 with JSON.
#[must_use]
pub fn ok(value: &Value) -> Response<Body> {
    reply(StatusCode::OK, value)
}

/// 204.
#[must_use]
pub fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// 201 with JSON and `Location`.
#[must_use]
pub fn created(location: &str, value: &Value) -> Response<Body> {
    let mut response = reply(StatusCode::CREATED, value);
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Adds an `ETag` of the revision.
#[must_use]
pub fn tagged(mut response: Response<Body>, revision: u64) -> Response<Body> {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{revision}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// A page: the entries beyond `limit` only say that there is more.
#[must_use]
pub fn list(mut entries: Vec<Value>, limit: usize) -> Response<Body> {
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    ok(&serde_json::json!({ "data": entries, "has_more": has_more }))
}

/// Reads a body within its size and its time.
async fn read_body(body: Body, headers: &HeaderMap, limits: &Limits) -> Result<Bytes, Problem> {
    let time = Duration::from_millis(limits.api_body_ms);
    let collected = tokio::time::timeout(time, collect(body, headers, limits.api_body_bytes)).await;
    collected.unwrap_or_else(|_| {
        let ms = limits.api_body_ms;
        let detail = format!("the body did not come within {ms} ms (limits.api_body_ms)");
        Err(Problem::new(Code::RequestTimeout, detail))
    })
}

async fn collect(mut body: Body, headers: &HeaderMap, limit: u64) -> Result<Bytes, Problem> {
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    let mut collected = Vec::new();
    let mut too_large = announced.is_some_and(|n| n > limit);
    while !too_large {
        let Some(frame) = body.frame().await else {
            return Ok(Bytes::from(collected));
        };
        let frame = frame.map_err(|_| Problem::new(Code::BadRequest, "the body ended early"))?;
        if let Ok(data) = frame.into_data() {
            too_large = collected.len() as u64 + data.len() as u64 > limit;
            collected.extend_from_slice(&data);
        }
    }
    drop(collected);
    // Why: a connection closed while the client still sends loses the answer.
    let drain = async {
        let mut read = 0_u64;
        while read < DRAIN_BYTES_MAX {
            match body.frame().await {
                Some(Ok(frame)) => read += frame.data_ref().map_or(0, |d| d.len() as u64),
                _ => return,
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, drain).await;
    let detail = format!("the body is larger than the limit of {limit} bytes (limits.api_body_bytes)");
    Err(Problem::new(Code::BodyTooLarge, detail))
}

/// `a=1&b=2`, percent-decoded.
fn parse_query(query: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}
