//! Fields of the credential form and of a connection's config, as written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::yes;

/// The credential form.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuthSchema {
    /// Fields.
    pub fields: Vec<FieldDef>,
}

/// A field's type; `secret` and `string` are read as `password` and `text`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// One line.
    #[default]
    #[serde(alias = "string")]
    Text,
    /// One line, hidden while typing.
    #[serde(alias = "secret")]
    Password,
    /// Several lines.
    Textarea,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// One of a list.
    Select,
    /// A URL.
    Url,
    /// An email address.
    Email,
    /// A JSON document, such as a service account's key file.
    Json,
    /// A PEM text (RFC 7468), such as a private key.
    Pem,
}

impl FieldType {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Password => "password",
            Self::Textarea => "textarea",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Select => "select",
            Self::Url => "url",
            Self::Email => "email",
            Self::Json => "json",
            Self::Pem => "pem",
        }
    }

    /// Whether a value may have several lines.
    #[must_use]
    pub const fn is_multiline(self) -> bool {
        matches!(self, Self::Textarea | Self::Json | Self::Pem)
    }
}

impl JsonSchema for FieldType {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FieldType".into()
    }

    // Why by hand: the derived schema does not know the aliases.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "enum": [
            "text", "string", "password", "secret", "textarea", "number", "boolean", "select", "url", "email",
            "json", "pem",
        ] })
    }
}

/// Format of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldFormat {
    /// A host name of several labels.
    Hostname,
    /// One DNS label.
    HostnameLabel,
    /// An `https` URL.
    Url,
    /// An email address.
    Email,
    /// A UUID (RFC 9562).
    Uuid,
    /// A PEM text (RFC 7468).
    Pem,
    /// A JSON document.
    Json,
}

impl FieldFormat {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hostname => "hostname",
            Self::HostnameLabel => "hostname_label",
            Self::Url => "url",
            Self::Email => "email",
            Self::Uuid => "uuid",
            Self::Pem => "pem",
            Self::Json => "json",
        }
    }
}

/// Whose value a field has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldScope {
    /// Each workspace's.
    #[default]
    Workspace,
    /// The OAuth client's, which an org or the platform may save for all its workspaces.
    Client,
}

/// A field of the credential form or of the connection's config.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["name"]))]
pub struct FieldDef {
    /// Name in `config`.
    #[schemars(regex(pattern = "^[A-Za-z_][A-Za-z0-9_]{0,62}$"))]
    pub name: String,
    /// Label for people.
    #[schemars(length(max = 120))]
    pub label: Option<String>,
    /// Type.
    pub r#type: FieldType,
    /// Whether a value must be given.
    pub required: bool,
    /// Whether it is a secret. Default: true in `auth_schema`, false in `config_fields`.
    pub secret: Option<bool>,
    /// Whose value it is; `client` in a credential form alone, for token requests alone.
    pub scope: FieldScope,
    /// Shown in the empty field.
    #[schemars(length(max = 200))]
    pub placeholder: Option<String>,
    /// Shown beside the field.
    #[schemars(length(max = 1000))]
    pub help: Option<String>,
    /// Link to a longer explanation.
    #[schemars(length(max = 500))]
    pub help_url: Option<String>,
    /// Value used when none is given; non-secret fields only.
    #[schemars(length(max = 1000))]
    pub default: Option<String>,
    /// Position among the others; fields without one keep their order.
    pub order: Option<i32>,
    /// Heading it is grouped under.
    #[schemars(length(max = 120))]
    pub group: Option<String>,
    /// Anchored regular expression (RE2 syntax) of the whole value.
    #[schemars(length(min = 1, max = 500))]
    pub pattern: Option<String>,
    /// Message shown when the pattern does not match.
    #[schemars(length(max = 300))]
    pub pattern_message: Option<String>,
    /// Format of the value.
    pub format: Option<FieldFormat>,
    /// Shortest value, characters.
    pub min_length: Option<u32>,
    /// Longest value, characters.
    pub max_length: Option<u32>,
    /// Accepted values.
    pub r#enum: Option<Vec<EnumValue>>,
    /// Shown before the value; removed from a pasted value that has it.
    #[schemars(length(min = 1, max = 120))]
    pub prefix: Option<String>,
    /// Shown after the value; removed from a pasted value that has it, with everything after it.
    #[schemars(length(min = 1, max = 120))]
    pub suffix: Option<String>,
    /// When the field is shown and, if required, must be given.
    pub visible_when: Option<VisibleWhenDef>,
    /// Filled by `discover` or by `capture`, not by a person; config fields only.
    pub automated: bool,
    /// Computed from another field when saved; config fields only.
    pub computed: Option<ComputedDef>,
    /// Whether white space at both ends is removed.
    #[serde(default = "yes")]
    #[schemars(default = "yes")]
    pub trim: bool,
}

/// One accepted value.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["value"]))]
pub struct EnumValue {
    /// The value.
    pub value: String,
    /// Label for people.
    pub label: Option<String>,
}

/// A condition on another field of the same form.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["field"]))]
pub struct VisibleWhenDef {
    /// The other field.
    pub field: String,
    /// The value it must have.
    pub equals: Option<String>,
    /// Or one of these values.
    pub r#in: Option<Vec<String>>,
}

/// How a config value is computed from another field.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["from"]))]
pub struct ComputedDef {
    /// The other field; a value computed from a secret must not reveal the secret.
    pub from: String,
    /// Filters of the template language, such as `after_last:'-'`.
    #[schemars(length(max = 200))]
    pub filter: Option<String>,
}
