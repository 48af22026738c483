//! `/admin/module`: custom modules, admitted, listed and deleted.

use axum::body::Body;
use http::header::LOCATION;
use http::{HeaderValue, Response, StatusCode};
use portcullis_core::fault::Code;
use portcullis_engine::modules::{self, Admitted, ModuleReport};
use portcullis_engine::{Error, connectors};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, Content, JSON, Json, List, NoContent, Versioned, json};
use crate::request::{Context, NoParameters, PageParameters, Parameters, WasmBody, revision};
use crate::v1::connectors::SavedConnector;

/// A module that is stored.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AdmittedModule {
    /// `sha256:` and the digest of the bytes: what a definition names in `runtime.module`.
    digest: String,
    report: ModuleReport,
}

/// 201 for a module that was not known, 200 for one that was.
pub(crate) struct Uploaded {
    body: AdmittedModule,
    is_new: bool,
}

impl Answer for Uploaded {
    const STATUS: StatusCode = StatusCode::CREATED;
    const OTHER_STATUSES: &'static [StatusCode] = &[StatusCode::OK];

    fn content(generator: &mut SchemaGenerator) -> Content {
        vec![(JSON, Some(generator.subschema_for::<AdmittedModule>()))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        let status = if self.is_new { StatusCode::CREATED } else { StatusCode::OK };
        let mut response = json(status, &self.body)?;
        if let Ok(location) = HeaderValue::from_str(&format!("/admin/module/{}", self.body.digest)) {
            response.headers_mut().insert(LOCATION, location);
        }
        Ok(response)
    }
}

impl From<Admitted> for AdmittedModule {
    fn from(admitted: Admitted) -> Self {
        Self { digest: admitted.report.digest.clone(), report: admitted.report }
    }
}

/// A stored module.
#[derive(Serialize, JsonSchema)]
pub(crate) struct StoredModule {
    /// `sha256:` and the digest of the bytes.
    digest: String,
    report: ModuleReport,
    /// When it was admitted, RFC 3339.
    created_at: String,
}

impl StoredModule {
    fn of(record: modules::ModuleRecord) -> Result<Self, Error> {
        let report: ModuleReport =
            serde_json::from_value(record.report).map_err(|_| Error::plain(Code::Internal))?;
        Ok(Self { digest: record.digest, report, created_at: record.created_at })
    }
}

/// A new revision of a connector, and the module that it uses.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ConnectorModule {
    module: AdmittedModule,
    connector: SavedConnector,
}

/// How a module is uploaded.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModuleUpload {
    /// Ed25519 signature over the digest as it is written, base64.
    #[serde(rename = "x-module-signature", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("x-in" = "header"))]
    signature: Option<String>,
}

impl Parameters for ModuleUpload {}

/// How a connector's module is replaced.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplaceModule {
    /// The digest of the difference that a person accepts, as `capability_widened` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    accept: Option<String>,
    /// Ed25519 signature over the digest as it is written, base64.
    #[serde(rename = "x-module-signature", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("x-in" = "header"))]
    signature: Option<String>,
    /// The `ETag` of the record as it was read: the change is refused if the record has changed since. `*` means any.
    #[serde(rename = "If-Match", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("x-in" = "header"))]
    if_match: Option<String>,
}

impl Parameters for ReplaceModule {}

pub(crate) async fn upload(
    context: Context,
    how: ModuleUpload,
    WasmBody(bytes): WasmBody,
) -> Result<Uploaded, Error> {
    let admitted =
        modules::upload(context.engine(), context.caller()?, bytes, how.signature.as_deref()).await?;
    Ok(Uploaded { is_new: admitted.is_new, body: admitted.into() })
}

pub(crate) async fn replace(
    context: Context,
    how: ReplaceModule,
    WasmBody(bytes): WasmBody,
) -> Result<Versioned<ConnectorModule>, Error> {
    let expected = revision(how.if_match.as_deref())?;
    let (admitted, saved) = connectors::replace_module(
        context.engine(),
        context.caller()?,
        context.path("id"),
        expected,
        (bytes, how.signature.as_deref()),
        how.accept.as_deref(),
    )
    .await?;
    let connector = SavedConnector::changed(saved);
    let Versioned { body: connector, revision } = connector;
    Ok(Versioned { revision, body: ConnectorModule { module: admitted.into(), connector } })
}

pub(crate) async fn list(
    context: Context,
    page: PageParameters,
    (): (),
) -> Result<Json<List<StoredModule>>, Error> {
    let found = modules::list(context.engine(), context.caller()?, &page.wanted()).await?;
    List::try_of(found, StoredModule::of)
}

pub(crate) async fn show(context: Context, _: NoParameters, (): ()) -> Result<Json<StoredModule>, Error> {
    let record = modules::show(context.engine(), context.caller()?, context.path("digest")).await?;
    StoredModule::of(record).map(Json)
}

pub(crate) async fn delete(context: Context, _: NoParameters, (): ()) -> Result<NoContent, Error> {
    modules::delete(context.engine(), context.caller()?, context.path("digest")).await?;
    Ok(NoContent)
}
