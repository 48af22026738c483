//! Requests: what is read before a handler runs, and the typed parameters and bodies that handlers take.
//!
//! Everything that is strict about requests is here: one JSON reader, one structural check for every body, and query
//! parameters and headers that are read by the types in the OpenAPI document.

use std::any::TypeId;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, RwLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use hyper::body::Bytes;
use portcullis_admission::Permit;
use portcullis_core::fault::Code;
use portcullis_core::id::OrgId;
use portcullis_core::json_reader::{self, JsonError};
use portcullis_core::limits::Limits;
use portcullis_core::structure::Structure;
use portcullis_core::sync::{read, write};
use portcullis_core::violation::{MORE, Violation};
use portcullis_engine::runs::Commitment;
use portcullis_engine::tenants::{self, Tenant};
use portcullis_engine::workers::{Lane, Seat};
use portcullis_engine::{Caller, Engine, Error, api_token, audit_log};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::answer::JSON;
use crate::auth;
use crate::dispatch::PathParams;
use crate::login_log::Peer;
use crate::route::{Admission, Route};
use crate::service::Api;

mod definition_body;
mod parameters;

pub(crate) use definition_body::DefinitionBody;
pub(crate) use parameters::{
    IfMatch, NoParameters, PageParameters, Parameter, Parameters, Place, default_limit, read_typed, revision,
};

/// Bytes of an over-long body that are read and dropped so that the client can finish sending and
/// read its answer.
const DRAIN_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of a body that are copied before other tasks have a turn.
const COPIED_AT_ONCE: usize = 256 * 1024;
/// Longest time for dropping it.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// What a handler receives besides parameters and body.
pub(crate) struct Context {
    pub(crate) api: Arc<Api>,
    caller: Option<Caller>,
    /// Org and workspace of the path, if they were looked up already.
    tenant: Option<Tenant>,
    path: Vec<(String, String)>,
    headers: HeaderMap,
    peer: Option<Peer>,
    request_id: Arc<str>,
    /// Of the call that is made, if one is.
    pub(crate) commitment: Commitment,
}

/// A request that may be handled.
pub(crate) struct Opened {
    pub(crate) context: Context,
    pub(crate) request: RawRequest,
    /// On routes that make calls.
    pub(crate) permit: Option<Permit>,
    pub(crate) lane: Lane,
    /// For a request that goes to a worker from the beginning.
    pub(crate) seat: Option<Seat>,
}

/// The parts of a request from which a handler's types are read.
pub(crate) struct RawRequest {
    query: Option<String>,
    body: Bytes,
    /// Whether unknown query parameters are ignored.
    lenient: bool,
}

impl RawRequest {
    /// The query as it came; empty if there is none.
    pub(crate) fn query(&self) -> &str {
        self.query.as_deref().unwrap_or_default()
    }

    /// The body as it came.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }
}

impl Context {
    /// Authenticates, authorises, admits and reads the body, in that order.
    pub(crate) async fn open(
        api: Arc<Api>,
        route: &'static Route,
        path: PathParams,
        request: Request,
        request_id: &Arc<str>,
    ) -> Result<Opened, Error> {
        let (parts, body) = request.into_parts();
        let engine = &api.engine;
        let peer = parts.extensions.get::<Peer>().copied();
        // Why before authentication: what is taken from the caller from here on ends its call.
        let seen = engine.state_version();
        let caller = match route.roles {
            [] => None,
            _ => match api_token::authenticate(engine, auth::presented(&parts.headers)).await? {
                Ok(caller) => Some(caller),
                Err(reason) => {
                    let source = peer.map(|peer| api.source(peer, &parts.headers));
                    api.login_log.note(reason, source, route.path, request_id);
                    audit_log::note_failed_login(engine, source);
                    if let Some(source) = source.filter(|_| !api.is_draining()) {
                        api.login_delay.slow(source).await;
                    }
                    return Err(api_token::unauthorized());
                }
            },
        };
        let path: Vec<(String, String)> = match &path {
            Ok(path) => path.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
            Err(_) => {
                let detail = "a segment of the path is not UTF-8 once its percent-encoding is decoded";
                return Err(Error::new(Code::BadRequest, detail));
            }
        };
        let find = |name: &str| path.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        if let Some(caller) = &caller {
            caller.authorise(route.roles, find("org"), find("ws"))?;
        }
        let admitted = match (find("org"), find("ws")) {
            // Why before the body: a refusal should cost as little as possible. Why not before the workspace is known
            // to exist: an invented one would get a limit for itself.
            (Some(org), Some(workspace)) if route.admission == Admission::Scheduled => {
                let tenant = tenants::find_workspace(engine, org, workspace).await?;
                let tenant = tenant.seen_in(seen);
                let place = engine.admit(org, workspace).await;
                let place = place.inspect_err(|refused| engine.note_no_place(refused.code));
                Some((tenant, place?))
            }
            _ => None,
        };
        let (tenant, permit) = admitted.unzip();
        let body =
            read_body(body, &parts.headers, engine.limits(), route.body_limit(engine.limits())).await?;
        let query = parts.uri.query().map(str::to_owned);
        let request = RawRequest { query, body, lenient: route.is_lenient() };
        let (lane, workers) = (route.lane(find("org")), engine.workers());
        let bytes = request.body.len();
        let seat = if route.is_for_workers() || workers.are_for(bytes) {
            Some(workers.admit(&lane, bytes)?)
        } else {
            None
        };
        let (request_id, commitment) = (Arc::clone(request_id), Commitment::default());
        let headers = parts.headers;
        let context = Self { api, caller, tenant, path, headers, peer, request_id, commitment };
        Ok(Opened { context, request, permit, lane, seat })
    }

    /// The engine.
    pub(crate) fn engine(&self) -> &Engine {
        &self.api.engine
    }

    /// The caller.
    ///
    /// # Errors
    /// `unauthorized`; only on routes without roles, which have no caller.
    pub(crate) fn caller(&self) -> Result<&Caller, Error> {
        self.caller.as_ref().ok_or_else(|| Error::plain(Code::Unauthorized))
    }

    /// Where the request came from, if that is known.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        self.peer.map(|peer| self.api.source(peer, &self.headers))
    }

    /// The request's id.
    pub(crate) const fn request_id(&self) -> &Arc<str> {
        &self.request_id
    }

    /// A path parameter; empty if the route has none with that name.
    pub(crate) fn path(&self, name: &str) -> &str {
        self.path.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str())
    }

    /// The request's headers.
    pub(crate) const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A request header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// The org of the path, which exists.
    ///
    /// # Errors
    /// `org_not_found`.
    pub(crate) async fn org(&self) -> Result<OrgId, Error> {
        tenants::find_org(self.engine(), self.path("org")).await
    }

    /// The workspace of the path, which exists.
    ///
    /// # Errors
    /// `org_not_found`, `workspace_not_found`.
    pub(crate) async fn tenant(&self) -> Result<Tenant, Error> {
        match &self.tenant {
            Some(known) => Ok(known.clone()),
            None => tenants::find_workspace(self.engine(), self.path("org"), self.path("ws")).await,
        }
    }
}

/// A body that a handler takes.
pub(crate) trait RequestBody: Sized + Send + 'static {
    /// Codes with which reading may fail.
    const CODES: &'static [Code];

    /// Its media type.
    const MEDIA: &'static str = JSON;

    /// Its schema; `None` for a route without a body.
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema>;

    /// Reads the body.
    ///
    /// # Errors
    /// Some of [`Self::CODES`].
    fn read(context: &Context, request: &RawRequest) -> Result<Self, Error>;
}

/// Codes of reading JSON.
const JSON_CODES: &[Code] = &[Code::BadJson, Code::DuplicateMember, Code::UnsupportedMediaType];
/// Codes of reading JSON of a known shape.
const TYPED_CODES: &[Code] =
    &[Code::BadJson, Code::DuplicateMember, Code::UnsupportedMediaType, Code::ValidationFailed];

/// Codes of reading the body of a call.
const CALL_CODES: &[Code] = &[
    Code::BadJson,
    Code::DuplicateMember,
    Code::UnsupportedMediaType,
    Code::ValidationFailed,
    Code::InputInvalid,
];

/// No body; one that is sent is not looked at.
impl RequestBody for () {
    const CODES: &'static [Code] = &[];

    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }

    fn read(_: &Context, _: &RawRequest) -> Result<Self, Error> {
        Ok(())
    }
}

/// A body with a type: checked as a whole by the type's schema, then read.
pub(crate) struct Typed<T>(pub(crate) T);

impl<T: DeserializeOwned + JsonSchema + Send + 'static> RequestBody for Typed<T> {
    const CODES: &'static [Code] = TYPED_CODES;

    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<T>())
    }

    fn read(context: &Context, request: &RawRequest) -> Result<Self, Error> {
        let document = request.json(context)?;
        let structure = structure_of::<T>()?;
        let read = structure.read(document);
        read.map(Self).map_err(|violations| Error::violations(Code::ValidationFailed, violations))
    }
}

/// The body of a call: what it holds is input of an action, and is refused as such.
pub(crate) struct CallBody<T>(pub(crate) T);

/// A type whose whole body is usually one open object.
pub(crate) trait OneMember {
    /// The member's name.
    const MEMBER: &'static str;

    /// The smallest body.
    const EXAMPLE: &'static str;

    /// The value of a body that has this member alone.
    fn of(members: Map<String, Value>) -> Self;
}

impl<T: OneMember + DeserializeOwned + JsonSchema + Send + 'static> RequestBody for CallBody<T> {
    const CODES: &'static [Code] = CALL_CODES;

    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<T>())
    }

    fn read(context: &Context, request: &RawRequest) -> Result<Self, Error> {
        let mut document = request.json_of(context, T::EXAMPLE)?;
        // Why first: nearly every call has this form, in which no schema can find anything, and nothing is copied.
        if let Some(members) = only_member(&mut document, T::MEMBER) {
            return Ok(Self(T::of(members)));
        }
        let read = structure_of::<T>()?.read(document);
        read.map(Self).map_err(|violations| {
            let of_input =
                |v: &Violation| v.code == MORE || (v.code == "wrong_type" && !v.pointer.is_empty());
            let code =
                if violations.iter().all(of_input) { Code::InputInvalid } else { Code::ValidationFailed };
            Error::violations(code, violations)
        })
    }
}

/// Takes the object out of a document that is this member and nothing else.
fn only_member(document: &mut Value, name: &str) -> Option<Map<String, Value>> {
    let members = document.as_object_mut().filter(|members| members.len() == 1)?;
    members.get_mut(name)?.as_object_mut().map(std::mem::take)
}

/// Media type of a component.
pub(crate) const WASM: &str = "application/wasm";

/// The bytes of a component.
pub(crate) struct WasmBody(pub(crate) Arc<[u8]>);

impl RequestBody for WasmBody {
    const CODES: &'static [Code] = &[Code::UnsupportedMediaType];
    const MEDIA: &'static str = WASM;

    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        Some(schemars::json_schema!({ "type": "string", "format": "binary" }))
    }

    fn read(context: &Context, request: &RawRequest) -> Result<Self, Error> {
        let media = context.header(CONTENT_TYPE.as_str()).unwrap_or(WASM);
        if !media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(WASM) {
            let detail = format!("send {WASM}, not {media:?}");
            return Err(Error::new(Code::UnsupportedMediaType, detail));
        }
        Ok(Self(Arc::from(&*request.body)))
    }
}

/// Any JSON object, such as a definition that is only checked.
pub(crate) struct AnyDocument(pub(crate) Value);

impl RequestBody for AnyDocument {
    const CODES: &'static [Code] = JSON_CODES;

    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        Some(schemars::json_schema!({ "type": "object", "additionalProperties": true }))
    }

    fn read(context: &Context, request: &RawRequest) -> Result<Self, Error> {
        request.json(context).map(Self)
    }
}

/// A JSON merge patch (RFC 7396) of a definition: its result is checked as a definition.
pub(crate) struct MergePatch(pub(crate) Value);

impl RequestBody for MergePatch {
    const CODES: &'static [Code] = TYPED_CODES;

    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        Some(schemars::json_schema!({
            "type": "object",
            "additionalProperties": true,
            "description": "Members to change; null removes one",
        }))
    }

    fn read(context: &Context, request: &RawRequest) -> Result<Self, Error> {
        let patch = request.json(context)?;
        if !patch.is_object() {
            return Err(Error::violation("", "wrong_type", "a merge patch must be an object"));
        }
        Ok(Self(patch))
    }
}

impl RawRequest {
    /// The body as JSON.
    fn json(&self, context: &Context) -> Result<Value, Error> {
        self.json_of(context, "a JSON object")
    }

    /// The same; whoever sent nothing is told to send this.
    fn json_of(&self, context: &Context, example: &str) -> Result<Value, Error> {
        let media = context.header(CONTENT_TYPE.as_str()).unwrap_or("application/json");
        let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if media != "application/json" && !media.ends_with("+json") {
            let detail = format!("send application/json, not {media:?}");
            return Err(Error::new(Code::UnsupportedMediaType, detail));
        }
        if self.body.is_empty() {
            return Err(Error::new(Code::BadJson, format!("the body is empty; send {example}")));
        }
        json_reader::read(&self.body, context.engine().limits()).map_err(|error| match error {
            JsonError::Duplicates(violations) => Error::violations(Code::DuplicateMember, violations),
            JsonError::TooDeep { ref pointer, .. } => {
                Error::new(Code::BadJson, format!("the body {error}")).at(pointer.clone())
            }
            JsonError::Syntax { .. } => Error::new(Code::BadJson, format!("the body is {error}")),
        })
    }
}

/// The structural check of a type, compiled once.
pub(crate) fn structure_of<T: JsonSchema + 'static>() -> Result<Arc<Structure>, Error> {
    static MADE: LazyLock<RwLock<HashMap<TypeId, Arc<Structure>>>> = LazyLock::new(RwLock::default);
    if let Some(made) = read(&MADE).get(&TypeId::of::<T>()) {
        return Ok(Arc::clone(made));
    }
    let made = Structure::of::<T>().ok_or_else(|| {
        tracing::error!(r#type = %T::schema_name(), "a schema cannot be used");
        Error::plain(Code::Internal)
    })?;
    Ok(Arc::clone(write(&MADE).entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(made))))
}

/// Reads a body within its limits of size and time.
async fn read_body(
    body: Body,
    headers: &HeaderMap,
    limits: &Limits,
    (bytes_max, name): (u64, &'static str),
) -> Result<Bytes, Error> {
    let time = Duration::from_millis(limits.api_body_ms);
    let collected = tokio::time::timeout(time, collect(body, headers, bytes_max, name)).await;
    collected.unwrap_or_else(|_| {
        let ms = limits.api_body_ms;
        let detail = format!("the body did not come within {ms} ms (limits.api_body_ms)");
        Err(Error::new(Code::RequestTimeout, detail))
    })
}

async fn collect(
    mut body: Body,
    headers: &HeaderMap,
    limit: u64,
    name: &'static str,
) -> Result<Bytes, Error> {
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    let mut collected = Vec::new();
    let mut copied = 0;
    let mut too_large = announced.is_some_and(|n| n > limit);
    while !too_large {
        let Some(frame) = body.frame().await else {
            return Ok(Bytes::from(collected));
        };
        let frame = frame.map_err(|_| Error::new(Code::BadRequest, "the body ended early"))?;
        if let Ok(data) = frame.into_data() {
            too_large = collected.len() as u64 + data.len() as u64 > limit;
            collected.extend_from_slice(&data);
            copied += data.len();
            if copied > COPIED_AT_ONCE {
                copied = 0;
                tokio::task::yield_now().await;
            }
        }
    }
    drop(collected);
    // Why: if the connection is closed while the client still sends, the client loses the answer.
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
    let detail = format!("the body is larger than the limit of {limit} bytes (limits.{name})");
    Err(Error::new(Code::BodyTooLarge, detail))
}
