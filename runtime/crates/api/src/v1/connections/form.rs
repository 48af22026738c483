//! The forms of a connector's authentication methods, for user interfaces of others: every member of the definition's
//! fields with what is saved of each, and the same as JSON Schema.

use portcullis_core::connector::{Connector, DEFAULT_METHOD};
use portcullis_core::form::Field;
use portcullis_core::form_schema::FormSchema;
use portcullis_core::id::ConnectorId;
use portcullis_engine::Error;
use portcullis_engine::connection::{self, Filled, LeftOut, MethodForm};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{FormCondition, FormOption};
use crate::answer::Json;
use crate::request::{Context, Parameters};

/// What people see of a connector besides its name.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ConnectorFace {
    /// What the third party is.
    description: Option<String>,
    /// Picture as a `data:image/…` URL.
    icon: Option<String>,
    /// Link to its documentation.
    docs_url: Option<String>,
    /// Link to help.
    support_url: Option<String>,
    /// How requests are authenticated by default.
    auth_type: String,
}

/// How a method is connected.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MethodKind {
    /// By filling in its form.
    Form,
    /// By a person who consents at the third party, after its form was saved.
    Consent,
}

/// A way to authenticate.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ConnectionMethod {
    /// Its id; `default` for the connector's own `auth_type`.
    method_id: String,
    /// Label for people.
    label: String,
    /// How it is connected.
    kind: MethodKind,
    /// The fields of its form, in the order in which they are shown.
    fields: Vec<ConnectionField>,
    /// Whether it is the recommended choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    recommended: Option<bool>,
}

/// A field of a form, with what is saved of it.
#[derive(Default, Serialize, JsonSchema)]
pub(crate) struct ConnectionField {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    r#type: String,
    required: bool,
    /// Whether its value is never shown.
    secret: bool,
    /// Shown in the empty field.
    #[serde(skip_serializing_if = "Option::is_none")]
    placeholder: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help_url: Option<String>,
    /// Value used when none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    /// Position among the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<i32>,
    /// Heading it is grouped under.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// Anchored regular expression (RE2 syntax) of the whole value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    /// What to say when the pattern does not match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern_message: Option<String>,
    /// Format of the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    /// Shortest value, characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    min_length: Option<u64>,
    /// Longest value, characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_length: Option<u64>,
    /// The accepted values.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#enum: Option<Vec<FormOption>>,
    /// Shown before the value; removed from a pasted value that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    /// Shown after the value; removed from a pasted value that has it, with everything after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    suffix: Option<String>,
    /// When it is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    visible_when: Option<FormCondition>,
    /// Whether the product fills it in instead of a person.
    automated: bool,
    /// Whether white space at both ends is removed.
    trim: bool,
    /// The saved value; never of a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Whether a secret is saved.
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<bool>,
    /// When a secret was last given, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
}

/// A form as JSON Schema, with hints for its display.
#[derive(Serialize, JsonSchema)]
pub(crate) struct FormDocument {
    connector_id: ConnectorId,
    /// The method whose form it is.
    method_id: String,
    /// The method's label for people.
    label: String,
    /// How the method is connected.
    kind: MethodKind,
    /// JSON Schema (2020-12) of the `config` of a `PUT`.
    #[schemars(with = "Map<String, Value>")]
    schema: FormSchema,
    /// How each field is shown, in order.
    ui: Vec<FieldHints>,
}

/// How a field is shown.
#[derive(Serialize, JsonSchema)]
pub(crate) struct FieldHints {
    /// Name of the schema's property.
    name: String,
    /// `text`, `password`, `textarea`, `number`, `checkbox`, `select`, `url` or `email`.
    widget: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    placeholder: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help_url: Option<String>,
    /// Heading it is grouped under.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// Shown before the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    /// Shown after the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    suffix: Option<String>,
    /// What to say when the pattern does not match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern_message: Option<String>,
    /// The accepted values with their labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Vec<FormOption>>,
    /// When it is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    visible_when: Option<FormCondition>,
}

/// Which form is read.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FormParameters {
    /// The method's id.
    #[serde(default = "default_method")]
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$"))]
    pub(crate) method: String,
}

fn default_method() -> String {
    DEFAULT_METHOD.to_owned()
}

impl Parameters for FormParameters {}

impl ConnectorFace {
    pub(super) fn of(connector: &Connector) -> Self {
        Self {
            description: connector.description.clone(),
            icon: connector.icon.clone(),
            docs_url: connector.docs_url.clone(),
            support_url: connector.support_url.clone(),
            auth_type: connector.auth_type.as_str().to_owned(),
        }
    }
}

impl MethodKind {
    fn of(connector: &Connector) -> Self {
        if connector.asks_for_consent() { Self::Consent } else { Self::Form }
    }
}

impl ConnectionMethod {
    /// Every method of a connector, its default first, without the fields that a shared OAuth client has.
    pub(super) fn all(connector: &Connector, filled: &Filled, left_out: &LeftOut) -> Vec<Self> {
        let own = Self::of(connector, DEFAULT_METHOD, None, filled, left_out);
        let others = connector.methods.iter().map(|method| {
            let label = method.label.as_deref();
            let shown = Self::of(&method.connector, &method.id, label, filled, left_out);
            Self { recommended: method.recommended.then_some(true), ..shown }
        });
        std::iter::once(own).chain(others).collect()
    }

    fn of(connector: &Connector, id: &str, label: Option<&str>, filled: &Filled, left_out: &LeftOut) -> Self {
        // Why nothing of the others: what is saved belongs to the chosen method.
        let none = Filled::default();
        let filled = if filled.method.as_deref() == Some(id) { filled } else { &none };
        let fields = in_display_order(&connector.fields).into_iter();
        let is_asked = |field: &&Field| !left_out.get(id).is_some_and(|names| names.contains(&field.name));
        Self {
            method_id: id.to_owned(),
            label: label.unwrap_or_else(|| connector.auth_type.label()).to_owned(),
            kind: MethodKind::of(connector),
            fields: fields.filter(is_asked).map(|field| ConnectionField::of(field, filled)).collect(),
            recommended: None,
        }
    }
}

/// The fields in the order in which they are shown.
pub(super) fn in_display_order(fields: &[Field]) -> Vec<&Field> {
    let mut ordered: Vec<&Field> = fields.iter().collect();
    // Why a stable sort: fields without an order keep theirs.
    ordered.sort_by_key(|field| field.order.unwrap_or_default());
    ordered
}

impl ConnectionField {
    fn of(field: &Field, filled: &Filled) -> Self {
        let name = &field.name;
        let updated_at = filled.updated_at.get(name).filter(|_| field.secret).cloned();
        Self {
            value: filled.values.get(name).filter(|_| !field.secret).cloned(),
            set: field.secret.then_some(updated_at.is_some()),
            updated_at,
            ..Self::with_rules(field)
        }
    }

    /// The field without what is saved of it.
    fn with_rules(field: &Field) -> Self {
        Self {
            required: field.required,
            secret: field.secret,
            default: field.default.clone(),
            pattern: field.pattern.as_ref().map(|pattern| pattern.as_str().to_owned()),
            pattern_message: pattern_message(field),
            format: field.format.map(|format| format.as_str().to_owned()),
            min_length: field.min_length.map(u64::from),
            max_length: field.max_length.map(u64::from),
            r#enum: options(field),
            visible_when: field.visible_when.as_ref().map(FormCondition::from),
            automated: field.is_filled_by_itself(),
            trim: field.trim,
            ..Self::for_people(field)
        }
    }

    /// What people see of the field.
    fn for_people(field: &Field) -> Self {
        Self {
            name: field.name.clone(),
            label: field.label.clone(),
            r#type: field.kind.as_str().to_owned(),
            placeholder: field.placeholder.clone(),
            help: field.help.clone(),
            help_url: field.help_url.clone(),
            order: field.order,
            group: field.group.clone(),
            prefix: field.prefix.clone(),
            suffix: field.suffix.clone(),
            ..Self::default()
        }
    }
}

fn pattern_message(field: &Field) -> Option<String> {
    field.pattern.as_ref().and_then(|pattern| pattern.message()).map(str::to_owned)
}

fn options(field: &Field) -> Option<Vec<FormOption>> {
    field.accepted.as_ref().map(|all| all.iter().map(FormOption::from).collect())
}

impl FieldHints {
    fn of(field: &Field) -> Self {
        Self {
            name: field.name.clone(),
            widget: widget(field).to_owned(),
            placeholder: field.placeholder.clone(),
            help_url: field.help_url.clone(),
            group: field.group.clone(),
            prefix: field.prefix.clone(),
            suffix: field.suffix.clone(),
            pattern_message: pattern_message(field),
            options: options(field),
            visible_when: field.visible_when.as_ref().map(FormCondition::from),
        }
    }
}

fn widget(field: &Field) -> &'static str {
    match field.kind.as_str() {
        "boolean" => "checkbox",
        "json" | "pem" => "textarea",
        _ if field.accepted.is_some() => "select",
        "text" if field.secret => "password",
        plain => plain,
    }
}

pub(crate) async fn show(
    context: Context,
    which: FormParameters,
    (): (),
) -> Result<Json<FormDocument>, Error> {
    let tenant = context.tenant().await?;
    let (engine, caller) = (context.engine(), context.caller()?);
    let form = connection::form(engine, caller, &tenant, context.path("id"), &which.method).await?;
    Ok(Json(document(&form, which.method)))
}

/// The form of this method.
pub(crate) fn document(form: &MethodForm, method_id: String) -> FormDocument {
    let connector = &form.loaded.connector;
    let method = connector.methods.iter().find(|method| method.id == method_id);
    let chosen = method.map_or(connector, |method| &method.connector);
    let label = method.and_then(|method| method.label.as_deref());
    let asked = in_display_order(&form.fields).into_iter().filter(|field| !field.is_filled_by_itself());
    FormDocument {
        connector_id: connector.id.clone(),
        label: label.unwrap_or_else(|| chosen.auth_type.label()).to_owned(),
        kind: MethodKind::of(chosen),
        schema: FormSchema::of(&form.fields),
        ui: asked.map(FieldHints::of).collect(),
        method_id,
    }
}
