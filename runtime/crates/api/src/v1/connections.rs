//! `/workspace/{org}/{ws}/settings/connector`: credentials can be saved, and are never returned. Values that are not
//! secret are shown.

use std::collections::BTreeMap;

use portcullis_core::connector::DEFAULT_METHOD;
use portcullis_core::definition::EnumValue;
use portcullis_core::form::{Field, VisibleWhen};
use portcullis_core::id::{ConnectionName, ConnectorId, RunId};
use portcullis_engine::Error;
use portcullis_engine::breaker::ConnectionBreaker;
use portcullis_engine::connection::{
    self, Attention, Connection, ConnectionChange, ConnectionState, FieldState, Offer, PatchConnection,
    SaveConnection, TokenView, Verified,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::answer::{Json, List, NoContent, Versioned};
use crate::request::{Context, IfMatch, NoParameters, PageParameters, Typed};

pub(crate) mod form;

use form::{ConnectionMethod, ConnectorFace};

/// A connection to save.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SaveSetting {
    /// False opts out.
    #[serde(default = "yes")]
    enabled: bool,
    /// Values of the form's fields, including secrets. If left out, the values saved before stay.
    #[serde(default)]
    #[schemars(with = "Map<String, Value>")]
    config: Option<Map<String, Value>>,
    /// One of the connector's `auth_methods`, or `default`; its default if left out.
    #[serde(default)]
    auth_method: Option<String>,
}

/// What is changed of a connection: what is left out stays as it was saved.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatchSetting {
    /// False opts out, true opts in again.
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

/// What a connection is unless it says otherwise: enabled.
pub(super) const fn yes() -> bool {
    true
}

/// A workspace's connection, without secret values.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Setting {
    /// Always `connector`.
    #[schemars(extend("const" = "connector"))]
    group: &'static str,
    /// The connector.
    name: ConnectorId,
    /// The connector's name for people.
    display_name: String,
    #[serde(flatten)]
    face: ConnectorFace,
    /// Its name; absent for the default connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<ConnectionName>,
    /// What people call a named connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    value: SettingValue,
    /// The state of the connection.
    state: ConnectionState,
    /// The ways to authenticate, with their forms; the first is the connector's default.
    methods: Vec<ConnectionMethod>,
    /// The fields of the form, in its order.
    #[serde(serialize_with = "in_order")]
    #[schemars(with = "BTreeMap<String, SettingField>")]
    fields: Vec<(String, SettingField)>,
    /// The chosen way to authenticate; absent for the connector's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_method: Option<String>,
    /// Why it needs attention.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The same as data.
    #[serde(skip_serializing_if = "Option::is_none")]
    attention: Option<Attention>,
    /// When a call last succeeded, RFC 3339, to the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success_at: Option<String>,
    /// Its last 20 changes, newest first.
    history: Vec<ConnectionChange>,
    /// The token that was obtained with the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<SettingToken>,
    /// Its circuit breaker on this node, while calls are refused because the third party failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker: Option<ConnectionBreaker>,
}

fn in_order<S: Serializer>(fields: &[(String, SettingField)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter().map(|(name, field)| (name, field)))
}

/// What may be shown of a setting's value.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SettingValue {
    /// False if the workspace opted out.
    enabled: bool,
}

/// Whether a field has a saved value.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SettingField {
    /// Whether it has a saved value.
    set: bool,
    /// When the value was last given, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
}

/// What may be shown of a token.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SettingToken {
    /// When it was obtained, RFC 3339.
    obtained_at: Option<String>,
    /// When it expires, RFC 3339.
    expires_at: Option<String>,
    /// Why the last attempt to obtain one failed.
    failure: Option<SettingTokenFailure>,
}

/// Why a token could not be obtained.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SettingTokenFailure {
    /// The reason as a sentence for people.
    reason: String,
    /// When it failed, RFC 3339.
    at: String,
    /// Number of failures in a row.
    times: u32,
    /// When the next attempt is due, RFC 3339.
    retry_at: String,
}

/// A connector that a workspace sees.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ConnectorOffer {
    connector_id: ConnectorId,
    /// Name for people.
    display_name: String,
    #[serde(flatten)]
    face: ConnectorFace,
    /// Whether the platform has enabled it.
    enabled: bool,
    /// Whether it should not be used for anything new.
    deprecated: bool,
    /// The state of the connection.
    state: ConnectionState,
    /// Why it needs attention.
    #[serde(skip_serializing_if = "Option::is_none")]
    attention: Option<Attention>,
    /// When a call last succeeded, RFC 3339, to the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success_at: Option<String>,
    /// Its circuit breaker on this node, while calls are refused because the third party failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker: Option<ConnectionBreaker>,
    /// The ways to authenticate, with their forms; the first is the connector's default.
    methods: Vec<ConnectionMethod>,
    /// The form of the default method.
    form: Vec<FormField>,
    /// Other authentication methods.
    auth_methods: Vec<AuthMethod>,
}

/// An authentication method.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AuthMethod {
    id: String,
    /// Label for people.
    label: Option<String>,
    /// Whether it is the recommended choice.
    recommended: bool,
    /// The form to fill in.
    form: Vec<FormField>,
}

/// A field of a form, for display in a browser.
#[derive(Serialize, JsonSchema)]
pub(crate) struct FormField {
    name: String,
    label: Option<String>,
    r#type: String,
    required: bool,
    /// Whether its value is never shown.
    secret: bool,
    default: Option<String>,
    /// The accepted values; null if any value is accepted.
    r#enum: Option<Vec<FormOption>>,
    placeholder: Option<String>,
    help: Option<String>,
    help_url: Option<String>,
    group: Option<String>,
    prefix: Option<String>,
    suffix: Option<String>,
    pattern: Option<String>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    visible_when: Option<FormCondition>,
    /// Whether the product fills it instead of a person.
    automated: bool,
}

/// An accepted value.
#[derive(Serialize, JsonSchema)]
pub(crate) struct FormOption {
    value: String,
    label: Option<String>,
}

/// When a field is shown.
#[derive(Serialize, JsonSchema)]
pub(crate) struct FormCondition {
    /// The other field.
    field: String,
    /// The values with which this field is shown.
    r#in: Vec<String>,
}

/// The result of testing a credential.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TestResult {
    /// Whether the credential works.
    ok: bool,
    /// Name of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// Why it does not work: a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// The reason as a sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Class of the upstream's error.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    /// The upstream's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// The run's id in the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<RunId>,
}

impl From<Connection> for Setting {
    fn from(connection: Connection) -> Self {
        let of_field =
            |FieldState { name, set, updated_at }: FieldState| (name, SettingField { set, updated_at });
        let connector = &connection.connector.connector;
        Self {
            group: "connector",
            display_name: connector.display_name.clone(),
            face: ConnectorFace::of(connector),
            methods: ConnectionMethod::all(connector, &connection.filled, &connection.left_out),
            name: connection.connector_id,
            connection: connection.name,
            label: connection.label,
            value: SettingValue { enabled: connection.enabled },
            state: connection.state,
            fields: connection.fields.into_iter().map(of_field).collect(),
            auth_method: connection.auth_method,
            reason: connection.reason,
            attention: connection.attention,
            last_success_at: connection.last_success_at,
            history: connection.changes,
            token: connection.token.map(SettingToken::from),
            breaker: connection.breaker,
        }
    }
}

impl From<TokenView> for SettingToken {
    fn from(token: TokenView) -> Self {
        let failure = token.failure.map(|failure| {
            let connection::TokenFailure { reason, at, times, retry_at, permanent: _ } = failure;
            SettingTokenFailure { reason, at, times, retry_at }
        });
        Self { obtained_at: token.obtained_at, expires_at: token.expires_at, failure }
    }
}

impl From<Offer> for ConnectorOffer {
    fn from(offer: Offer) -> Self {
        let connector = &offer.connector.connector;
        let methods = connector.methods.iter().map(|method| AuthMethod {
            id: method.id.clone(),
            label: method.label.clone(),
            recommended: method.recommended,
            form: form(&method.connector.fields, offer.left_out.get(&method.id)),
        });
        Self {
            connector_id: connector.id.clone(),
            display_name: connector.display_name.clone(),
            face: ConnectorFace::of(connector),
            methods: ConnectionMethod::all(connector, &offer.filled, &offer.left_out),
            enabled: connector.enabled,
            deprecated: connector.deprecated,
            state: offer.state,
            attention: offer.attention,
            last_success_at: offer.last_success_at,
            breaker: offer.breaker,
            form: form(&connector.fields, offer.left_out.get(DEFAULT_METHOD)),
            auth_methods: methods.collect(),
        }
    }
}

/// The form without the fields that a shared OAuth client has.
fn form(fields: &[Field], left_out: Option<&Vec<String>>) -> Vec<FormField> {
    let ordered = form::in_display_order(fields).into_iter();
    let asked = ordered.filter(|field| !left_out.is_some_and(|names| names.contains(&field.name)));
    asked.map(FormField::of).collect()
}

impl From<&EnumValue> for FormOption {
    fn from(option: &EnumValue) -> Self {
        Self { value: option.value.clone(), label: option.label.clone() }
    }
}

impl From<&VisibleWhen> for FormCondition {
    fn from(when: &VisibleWhen) -> Self {
        Self { field: when.field.clone(), r#in: when.accepted.clone() }
    }
}

impl FormField {
    fn of(field: &Field) -> Self {
        Self {
            name: field.name.clone(),
            label: field.label.clone(),
            r#type: field.kind.as_str().to_owned(),
            required: field.required,
            secret: field.secret,
            default: field.default.clone(),
            r#enum: field.accepted.as_ref().map(|all| all.iter().map(FormOption::from).collect()),
            placeholder: field.placeholder.clone(),
            help: field.help.clone(),
            help_url: field.help_url.clone(),
            group: field.group.clone(),
            prefix: field.prefix.clone(),
            suffix: field.suffix.clone(),
            pattern: field.pattern.as_ref().map(|pattern| pattern.as_str().to_owned()),
            min_length: field.min_length.map(u64::from),
            max_length: field.max_length.map(u64::from),
            visible_when: field.visible_when.as_ref().map(FormCondition::from),
            automated: field.automated || field.computed.is_some(),
        }
    }
}

impl From<Verified> for TestResult {
    fn from(verified: Verified) -> Self {
        let Verified { ok, label, code, message, class, status, run_id } = verified;
        Self { ok, label, code, message, class, status, run_id }
    }
}

pub(crate) async fn list(
    context: Context,
    page: PageParameters,
    (): (),
) -> Result<Json<List<ConnectorOffer>>, Error> {
    let tenant = context.tenant().await?;
    let found = connection::list(context.engine(), context.caller()?, &tenant, &page.wanted()).await?;
    Ok(List::of(found, ConnectorOffer::from))
}

pub(super) fn versioned(connection: Connection) -> Versioned<Setting> {
    Versioned { revision: connection.revision, body: connection.into() }
}

pub(crate) async fn show(context: Context, _: NoParameters, (): ()) -> Result<Versioned<Setting>, Error> {
    let tenant = context.tenant().await?;
    let found = connection::show(context.engine(), context.caller()?, &tenant, context.path("id")).await?;
    Ok(versioned(found))
}

pub(crate) async fn save(
    context: Context,
    how: IfMatch,
    Typed(wish): Typed<SaveSetting>,
) -> Result<Versioned<Setting>, Error> {
    let tenant = context.tenant().await?;
    let SaveSetting { enabled, config, auth_method } = wish;
    let wish = SaveConnection { enabled, config, auth_method, label: None, expected: how.revision()? };
    let (engine, caller) = (context.engine(), context.caller()?);
    let saved = connection::save(engine, caller, &tenant, context.path("id"), wish).await?;
    Ok(versioned(saved))
}

pub(crate) async fn patch(
    context: Context,
    how: IfMatch,
    Typed(wish): Typed<PatchSetting>,
) -> Result<Versioned<Setting>, Error> {
    let tenant = context.tenant().await?;
    let PatchSetting { enabled, config, auth_method } = wish;
    let wish = PatchConnection { enabled, config, auth_method, label: None, expected: how.revision()? };
    let (engine, caller) = (context.engine(), context.caller()?);
    let saved = connection::patch(engine, caller, &tenant, context.path("id"), wish).await?;
    Ok(versioned(saved))
}

pub(crate) async fn forget(context: Context, _: NoParameters, (): ()) -> Result<NoContent, Error> {
    let tenant = context.tenant().await?;
    connection::forget(context.engine(), context.caller()?, &tenant, context.path("id")).await?;
    Ok(NoContent)
}

pub(crate) async fn test(context: Context, _: NoParameters, (): ()) -> Result<Json<TestResult>, Error> {
    let tenant = context.tenant().await?;
    let (engine, caller, commitment) = (context.engine(), context.caller()?, context.commitment.clone());
    let verified = connection::verify(engine, caller, &tenant, context.path("id"), commitment).await?;
    Ok(Json(verified.into()))
}
