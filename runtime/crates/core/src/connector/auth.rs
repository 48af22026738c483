//! From the definition's credential form and `auth` object to fields and an injection plan.

use http::HeaderName;
use portcullis_action::template::{Scope, Template};

use crate::definition::{AuthDef, AuthPlace, AuthType, Definition, FieldDef};
use crate::injection::Injection;
use crate::input::Field;
use crate::problem::Problem;

/// Credential fields first, then config fields, with every name used once.
pub(super) fn fields(definition: &Definition, errors: &mut Vec<Problem>) -> Vec<Field> {
    let form = definition.auth_schema.fields.iter().enumerate();
    let config = definition.config_fields.iter().enumerate();
    let all = form
        .map(|(i, f)| (format!("/auth_schema/fields/{i}"), f, true))
        .chain(config.map(|(i, f)| (format!("/config_fields/{i}"), f, false)));
    let mut fields: Vec<Field> = Vec::new();
    for (pointer, wire, secret_by_default) in all {
        if fields.iter().any(|f| f.name == wire.name) {
            let message = format!("field {:?} is used twice", wire.name);
            errors.push(Problem::new(format!("{pointer}/name"), "duplicate_field", message));
        }
        let secret = wire.secret.unwrap_or(secret_by_default);
        if secret && !secret_by_default {
            errors.push(Problem::new(
                format!("{pointer}/secret"),
                "config_field_secret",
                "config_fields are visible to guests; a secret belongs to auth_schema.fields",
            ));
        }
        if secret && wire.default.is_some() {
            errors.push(Problem::new(
                format!("{pointer}/default"),
                "secret_default",
                "a secret has no default: it would be the same for every workspace and in plain sight",
            ));
        }
        fields.push(field(wire, secret));
    }
    fields
}

fn field(wire: &FieldDef, secret: bool) -> Field {
    Field {
        name: wire.name.clone(),
        label: wire.label.clone(),
        kind: wire.r#type,
        required: wire.required,
        secret,
        default: wire.default.clone(),
        min_length: wire.min_length,
        max_length: wire.max_length,
        accepted: wire.r#enum.clone(),
        placeholder: wire.placeholder.clone(),
        help: wire.help.clone(),
    }
}

/// The injection plan of the definition; `None` after an error.
pub(super) fn injection(
    definition: &Definition,
    fields: &[Field],
    errors: &mut Vec<Problem>,
) -> Option<Injection> {
    let default_auth = AuthDef::default();
    let auth = definition.auth.as_ref().unwrap_or(&default_auth);
    check_unused(definition.auth_type, definition.auth.as_ref(), errors);
    match definition.auth_type {
        AuthType::None => Some(Injection::None),
        AuthType::Bearer => {
            let value = value_template(auth, fields, "Bearer ", errors)?;
            Some(Injection::Header { name: http::header::AUTHORIZATION, value })
        }
        AuthType::ApiKey => api_key(auth, fields, errors),
        AuthType::Basic => {
            let (Some(username), Some(password)) = (&auth.username, &auth.password) else {
                errors.push(Problem::new(
                    "/auth",
                    "auth_incomplete",
                    "basic needs auth.username and auth.password, such as \"{{cred.email}}/token\" and \"{{cred.token}}\"",
                ));
                return None;
            };
            let username = secret_template(username, "/auth/username", fields, errors)?;
            let password = secret_template(password, "/auth/password", fields, errors)?;
            Some(Injection::Basic { username, password })
        }
    }
}

fn api_key(auth: &AuthDef, fields: &[Field], errors: &mut Vec<Problem>) -> Option<Injection> {
    if auth.r#in == AuthPlace::Query {
        let Some(name) = auth.name.clone() else {
            errors.push(Problem::new("/auth/name", "auth_incomplete", "a key in the query needs auth.name"));
            return None;
        };
        let value = value_template(auth, fields, "", errors)?;
        return Some(Injection::Query { name, value });
    }
    let text = auth.name.as_deref().unwrap_or("Authorization");
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        errors.push(Problem::new("/auth/name", "header_forbidden", format!("{text:?} is not a header name")));
        return None;
    };
    if crate::header_rules::check_request_header(name.as_str(), b"", &[]).is_err() {
        errors.push(Problem::new("/auth/name", "header_forbidden", format!("{text:?} belongs to the host")));
        return None;
    }
    let prefix = if name == http::header::AUTHORIZATION { "Bearer " } else { "" };
    let value = value_template(auth, fields, prefix, errors)?;
    Some(Injection::Header { name, value })
}

/// `prefix` + `auth.value`, or the first secret field where no value is written.
fn value_template(
    auth: &AuthDef,
    fields: &[Field],
    default_prefix: &str,
    errors: &mut Vec<Problem>,
) -> Option<Template> {
    let body = match &auth.value {
        Some(text) => text.clone(),
        None => match fields.iter().find(|f| f.secret) {
            Some(field) => format!("{{{{cred.{}}}}}", field.name),
            None => {
                errors.push(Problem::new(
                    "/auth_schema/fields",
                    "auth_incomplete",
                    "this auth_type needs a secret field in auth_schema.fields",
                ));
                return None;
            }
        },
    };
    let prefix = auth.prefix.as_deref().unwrap_or(default_prefix);
    secret_template(&format!("{prefix}{body}"), "/auth/value", fields, errors)
}

fn secret_template(
    text: &str,
    pointer: &str,
    fields: &[Field],
    errors: &mut Vec<Problem>,
) -> Option<Template> {
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(e) => {
            errors.push(Problem::new(pointer, "template_invalid", e.to_string()));
            return None;
        }
    };
    let mut sound = true;
    for variable in template.variables() {
        let known = fields.iter().any(|f| f.name == variable.name);
        let message = match variable.scope {
            Scope::Cred | Scope::Config if !known => {
                format!("there is no field {:?}", variable.name)
            }
            Scope::Cred | Scope::Config if !variable.filters.is_empty() => {
                "filters are not implemented in auth templates".to_owned()
            }
            Scope::Cred | Scope::Config => continue,
            _ => format!("{variable} is not available in auth; write cred.<field>"),
        };
        sound = false;
        errors.push(Problem::new(pointer, "template_unknown_variable", message));
    }
    sound.then_some(template)
}

/// Parts of `auth` that the auth type does not read are refused: they would be a silent mistake.
fn check_unused(auth_type: AuthType, auth: Option<&AuthDef>, errors: &mut Vec<Problem>) {
    let Some(auth) = auth else { return };
    let written = [
        ("in", auth.r#in == AuthPlace::Query, matches!(auth_type, AuthType::ApiKey)),
        ("name", auth.name.is_some(), matches!(auth_type, AuthType::ApiKey)),
        ("prefix", auth.prefix.is_some(), matches!(auth_type, AuthType::ApiKey | AuthType::Bearer)),
        ("value", auth.value.is_some(), matches!(auth_type, AuthType::ApiKey | AuthType::Bearer)),
        ("username", auth.username.is_some(), matches!(auth_type, AuthType::Basic)),
        ("password", auth.password.is_some(), matches!(auth_type, AuthType::Basic)),
    ];
    for (name, is_written, is_read) in written {
        if is_written && !is_read {
            let message = format!("auth.{name} is not read by this auth_type");
            errors.push(Problem::new(format!("/auth/{name}"), "auth_unused", message));
        }
    }
}
