//! `…/settings/connector/{id}/connection`: several connections of one connector in one workspace, each with a name.

use portcullis_engine::Error;
use portcullis_engine::connection::{self, AskedConnection, PatchConnection, SaveConnection};
use portcullis_engine::oauth::consent;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::answer::{Json, List, NoContent, Versioned};
use crate::request::{Context, IfMatch, NoParameters, PageParameters, Typed};
use crate::v1::connections::form::{self, FormDocument, FormParameters};
use crate::v1::connections::{Setting, TestResult, versioned};
use crate::v1::oauth::StartedConsent;

/// A named connection to save. It exists from then on.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SaveNamedSetting {
    /// What people call it. If left out, it stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 120))]
    label: Option<String>,
    /// False opts out of this connection alone.
    #[serde(default = "super::connections::yes")]
    enabled: bool,
    /// Values of the form's fields, including secrets. If left out, the values saved before stay.
    #[serde(default)]
    #[schemars(with = "Map<String, Value>")]
    config: Option<Map<String, Value>>,
    /// One of the connector's `auth_methods`; its default if left out.
    #[serde(default)]
    auth_method: Option<String>,
}

/// What is changed of a named connection: what is left out stays as it was saved.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatchNamedSetting {
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 120))]
    label: Option<String>,
    /// False opts out of this connection alone, true opts in again.
    #[serde(default)]
    enabled: Option<bool>,
    /// Fields that get another value; null removes one. The form is checked as a whole.
    #[serde(default)]
    #[schemars(with = "Map<String, Value>")]
    config: Option<Map<String, Value>>,
    /// Another of the connector's methods, for which nothing that was saved stays.
    #[serde(default)]
    auth_method: Option<String>,
}

/// The connection that a request's path names.
fn asked(context: &Context) -> AskedConnection<'_> {
    AskedConnection { connector: context.path("id"), name: Some(context.path("name")) }
}

pub(crate) async fn list(
    context: Context,
    page: PageParameters,
    (): (),
) -> Result<Json<List<Setting>>, Error> {
    let tenant = context.tenant().await?;
    let (engine, caller) = (context.engine(), context.caller()?);
    let found = connection::list_named(engine, caller, &tenant, context.path("id"), &page.wanted()).await?;
    Ok(List::of(found, Setting::from))
}

pub(crate) async fn show(context: Context, _: NoParameters, (): ()) -> Result<Versioned<Setting>, Error> {
    let tenant = context.tenant().await?;
    let found = connection::show(context.engine(), context.caller()?, &tenant, asked(&context)).await?;
    Ok(versioned(found))
}

pub(crate) async fn save(
    context: Context,
    how: IfMatch,
    Typed(wish): Typed<SaveNamedSetting>,
) -> Result<Versioned<Setting>, Error> {
    let tenant = context.tenant().await?;
    let SaveNamedSetting { label, enabled, config, auth_method } = wish;
    let wish = SaveConnection { enabled, config, auth_method, label, expected: how.revision()? };
    let (engine, caller) = (context.engine(), context.caller()?);
    let saved = connection::save(engine, caller, &tenant, asked(&context), wish).await?;
    Ok(versioned(saved))
}

pub(crate) async fn patch(
    context: Context,
    how: IfMatch,
    Typed(wish): Typed<PatchNamedSetting>,
) -> Result<Versioned<Setting>, Error> {
    let tenant = context.tenant().await?;
    let PatchNamedSetting { label, enabled, config, auth_method } = wish;
    let wish = PatchConnection { enabled, config, auth_method, label, expected: how.revision()? };
    let (engine, caller) = (context.engine(), context.caller()?);
    let saved = connection::patch(engine, caller, &tenant, asked(&context), wish).await?;
    Ok(versioned(saved))
}

pub(crate) async fn form(
    context: Context,
    which: FormParameters,
    (): (),
) -> Result<Json<FormDocument>, Error> {
    let tenant = context.tenant().await?;
    let (engine, caller) = (context.engine(), context.caller()?);
    let loaded = connection::form(engine, caller, &tenant, asked(&context), &which.method).await?;
    Ok(Json(form::document(&loaded, which.method)))
}

pub(crate) async fn forget(context: Context, _: NoParameters, (): ()) -> Result<NoContent, Error> {
    let tenant = context.tenant().await?;
    connection::forget(context.engine(), context.caller()?, &tenant, asked(&context)).await?;
    Ok(NoContent)
}

pub(crate) async fn test(context: Context, _: NoParameters, (): ()) -> Result<Json<TestResult>, Error> {
    let tenant = context.tenant().await?;
    let (engine, caller, commitment) = (context.engine(), context.caller()?, context.commitment.clone());
    let verified = connection::verify(engine, caller, &tenant, asked(&context), commitment).await?;
    Ok(Json(verified.into()))
}

pub(crate) async fn start_consent(
    context: Context,
    _: NoParameters,
    (): (),
) -> Result<StartedConsent, Error> {
    let tenant = context.tenant().await?;
    let started = consent::start(context.engine(), context.caller()?, &tenant, asked(&context)).await?;
    Ok(StartedConsent::new(started, &context))
}
