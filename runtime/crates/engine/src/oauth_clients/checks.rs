//! What is checked when a client is saved: that its method may share one, that its values are what the form accepts, and
//! where it may be sent.

use std::collections::BTreeSet;

use portcullis_action::UrlTemplate;
use portcullis_action::template::Part;
use portcullis_core::connector::{ClientFields, Connector, DEFAULT_METHOD};
use portcullis_core::fault::Code;
use portcullis_core::form::{Field, FormValues, check_form};
use portcullis_core::host_pattern::{HostPattern, parse_list};
use portcullis_core::injection::Texts;
use portcullis_core::limits::Limits;
use portcullis_core::secret::SecretFields;
use portcullis_core::violation::{Violation, Violations, step};
use portcullis_store::{OAuthClientRecord, SecretPayload};
use serde_json::{Map, Value};

use super::OAuthClientWish;
use crate::clock;
use crate::error::Error;

/// Every method of a connector with its id.
fn methods(connector: &Connector) -> impl Iterator<Item = (&str, &Connector)> {
    let others = connector.methods.iter().map(|method| (method.id.as_str(), &method.connector));
    std::iter::once((DEFAULT_METHOD, connector)).chain(others)
}

/// The method that is meant: without one the first that asks a person for consent, else the first whose client can be
/// shared.
///
/// # Errors
/// `bad_request` for a method that there is not, `validation_failed` for one whose client cannot be shared.
pub(super) fn method<'c>(
    connector: &'c Connector,
    wanted: Option<&str>,
) -> Result<(&'c str, &'c Connector), Error> {
    let may = |(_, chosen): &(&str, &Connector)| chosen.auth.client.may_be_shared;
    let Some(wanted) = wanted else {
        let consents = |(_, chosen): &(&str, &Connector)| chosen.asks_for_consent();
        let mut shared = methods(connector).filter(may);
        let asks = methods(connector).filter(may).find(consents);
        return asks.or_else(|| shared.next()).ok_or_else(not_shared);
    };
    let known = || {
        let ids: Vec<&str> = methods(connector).map(|(id, _)| id).collect();
        Error::new(Code::BadRequest, format!("method must be one of [{}]", ids.join(", ")))
    };
    let found = methods(connector).find(|(id, _)| *id == wanted).ok_or_else(known)?;
    if may(&found) { Ok(found) } else { Err(not_shared()) }
}

/// The method of a client that is to be deleted, which the definition may not have any more.
///
/// # Errors
/// As for [`method`] where none is named.
pub(super) fn removable(connector: &Connector, wanted: Option<&str>) -> Result<String, Error> {
    match wanted {
        Some(wanted) => Ok(wanted.to_owned()),
        None => Ok(method(connector, None)?.0.to_owned()),
    }
}

fn not_shared() -> Error {
    let message = "a client is shared only where a person consents for each workspace, or where the definition says \
                   \"scope\": \"client\" of its fields: else every workspace would be the same account";
    Error::violation("/method", "client_not_shared", message)
}

/// The record, with nothing sealed yet, and what is to be sealed.
///
/// # Errors
/// `validation_failed` with every violation, `token_host_chosen_by_tenant`.
pub(super) fn client(
    connector: &Connector,
    method: &str,
    wish: &OAuthClientWish,
    limits: &Limits,
) -> Result<(OAuthClientRecord, SecretPayload), Error> {
    let scopes = scopes(connector, wish, limits)?;
    let FormValues { secrets, config } = values(connector, wish, limits)?;
    let fields: Vec<String> =
        secrets.iter().map(|(name, _)| name).chain(config.keys()).map(String::from).collect();
    let payload =
        SecretPayload { fields: SecretFields::new(secrets), allowed_hosts: hosts(connector, wish, limits)? };
    try_out(connector, wish, &payload.fields, &config)?;
    let secret = connector.auth.client.secret.as_ref();
    let record = OAuthClientRecord {
        connector_id: connector.id.clone(),
        method_id: method.to_owned(),
        client_id: wish.client_id.trim().to_owned(),
        instance: clock::fresh_text("client"),
        revision: 1,
        secret_set: secret.is_some_and(|name| fields.contains(name)),
        fields,
        config: config.into_iter().collect(),
        sealed: String::new(),
        allowed_hosts: payload.allowed_hosts.clone(),
        token_hosts: wish.token_hosts.clone(),
        scopes,
        updated_at: clock::now(),
    };
    Ok((record, payload))
}

/// The values as the form accepts them.
fn values(connector: &Connector, wish: &OAuthClientWish, limits: &Limits) -> Result<FormValues, Error> {
    let client = &connector.auth.client;
    let mut problems = Violations::default();
    let given = given(client, wish, &mut problems);
    let own = connector.fields.iter().filter(|field| client.has(&field.name));
    let own: Vec<Field> = own.cloned().collect();
    let needed = needed(connector);
    for field in own.iter().filter(|field| !field.required && needed.contains(field.name.as_str())) {
        if !given.contains_key(&field.name) && field.default.is_none() {
            let message = format!("{} is required: token requests have it", field.name);
            problems.push(Violation::new(pointer(client, &field.name), "missing_field", message));
        }
    }
    match check_form(&own, given, limits.secret_field_bytes) {
        Ok(values) if problems.is_empty() => return Ok(values),
        Ok(_) => {}
        Err(found) => {
            for mut violation in found {
                if let Some(name) = violation.pointer.strip_prefix("/config/") {
                    violation.pointer = pointer(client, name);
                }
                problems.push(violation);
            }
        }
    }
    Err(Error::violations(Code::ValidationFailed, problems.into_vec()))
}

/// The members of a wish by the names of fields.
fn given(client: &ClientFields, wish: &OAuthClientWish, problems: &mut Violations) -> Map<String, Value> {
    let mut given = wish.fields.clone();
    for name in client.id.iter().chain(&client.secret).filter(|name| wish.fields.contains_key(*name)) {
        let message = format!("{name} has a member of its own: {}", pointer(client, name));
        problems.push(Violation::new(format!("/fields/{}", step(name)), "wrong_place", message));
    }
    if let Some(id) = &client.id {
        given.insert(id.clone(), Value::String(wish.client_id.clone()));
    }
    let (secret, other, member) = match client.secret_is_key {
        true => (&wish.private_key, &wish.client_secret, "client_secret"),
        false => (&wish.client_secret, &wish.private_key, "private_key"),
    };
    if other.is_some() {
        let message = match client.secret_is_key {
            true => "this client proves itself with a private key: send private_key",
            false => "this client does not prove itself with a key: send client_secret",
        };
        problems.push(Violation::new(format!("/{member}"), "unknown_field", message));
    }
    match (&client.secret, secret) {
        (Some(name), Some(secret)) => drop(given.insert(name.clone(), Value::String(secret.clone()))),
        (None, Some(_)) => {
            let message = "the definition has no field of the client for it";
            problems.push(Violation::new(pointer_of_secret(client), "unknown_field", message));
        }
        (_, None) => {}
    }
    given
}

/// Where a field's value stands in a wish, given its name as a step of a pointer.
fn pointer(client: &ClientFields, name: &str) -> String {
    if client.id.as_deref() == Some(name) {
        return "/client_id".to_owned();
    }
    if client.secret.as_deref() == Some(name) {
        return pointer_of_secret(client);
    }
    format!("/fields/{name}")
}

fn pointer_of_secret(client: &ClientFields) -> String {
    if client.secret_is_key { "/private_key".to_owned() } else { "/client_secret".to_owned() }
}

/// Names of the fields without which a token request cannot be made.
fn needed(connector: &Connector) -> BTreeSet<&str> {
    let steps = connector.auth.token.iter().flat_map(|plan| plan.steps());
    steps.flat_map(|step| step.injection.fields()).collect()
}

/// Refuses values that can never be sent, and a client id that is not the one of the token requests.
fn try_out(
    connector: &Connector,
    wish: &OAuthClientWish,
    fields: &SecretFields,
    config: &Map<String, Value>,
) -> Result<(), Error> {
    let client = &connector.auth.client;
    for step in connector.auth.token.iter().flat_map(|plan| plan.steps()) {
        let placed = step.injection.check_known(fields, config);
        placed.map_err(|error| {
            Error::violation(pointer_of_secret(client), "not_injectable", error.to_string())
        })?;
    }
    let Some(template) = &client.id_template else { return Ok(()) };
    // Why not of one field: that is what was given, without the blanks that a paste brings.
    if client.id.is_some() {
        return Ok(());
    }
    match Texts::new(fields, config).render(template) {
        Ok(made) if made.as_str() == wish.client_id.trim() => Ok(()),
        _ => {
            let message = "the definition makes the client id itself, and makes another one";
            Err(Error::violation("/client_id", "not_in_list", message))
        }
    }
}

/// The scopes, which are single words (RFC 6749 section 3.3).
fn scopes(
    connector: &Connector,
    wish: &OAuthClientWish,
    limits: &Limits,
) -> Result<Option<Vec<String>>, Error> {
    let Some(scopes) = &wish.scopes else { return Ok(None) };
    let mut problems = Violations::default();
    let limit = limits.oauth_scopes;
    if scopes.len() as u64 > limit {
        problems.push(Violation::new("/scopes", "too_many", format!("has more than {limit} scopes")));
    }
    if connector.auth.token.as_ref().is_none_or(|plan| plan.consent.is_none()) {
        let message = "scopes are asked of a person, and this method asks nobody";
        problems.push(Violation::new("/scopes", "unknown_field", message));
    }
    let is_word = |text: &str| {
        let word = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'{' | b'}');
        !text.is_empty() && text.len() <= 500 && text.bytes().all(word)
    };
    for (index, _) in scopes.iter().enumerate().filter(|(_, scope)| !is_word(scope)) {
        let message = "is not one scope: up to 500 printable ASCII characters without spaces and braces";
        problems.push(Violation::new(format!("/scopes/{index}"), "wrong_form", message));
    }
    if problems.is_empty() {
        return Ok(Some(scopes.clone()));
    }
    Err(Error::violations(Code::ValidationFailed, problems.into_vec()))
}

/// The hosts that the client is sealed for: those that the token requests name, and those that are listed.
fn hosts(connector: &Connector, wish: &OAuthClientWish, limits: &Limits) -> Result<Vec<String>, Error> {
    let mut problems = Violations::default();
    let limit = limits.oauth_token_hosts;
    if wish.token_hosts.len() as u64 > limit {
        problems.push(Violation::new("/token_hosts", "too_many", format!("has more than {limit} hosts")));
    }
    let listed = parse_list("/token_hosts", wish.token_hosts.iter().map(String::as_str), &mut problems);
    for (index, entry) in listed.iter().enumerate() {
        if let Some(suffix) = entry.shared_hosting() {
            let message = format!(
                "anyone can rent a name under {suffix} and would get the client's secret; list the hosts one by one"
            );
            problems.push(Violation::new(format!("/token_hosts/{index}"), "token_host_shared", message));
        }
    }
    let mut hosts: BTreeSet<String> = listed.iter().map(ToString::to_string).collect();
    for step in connector.auth.token.iter().flat_map(|plan| plan.steps()) {
        match fixed_host(&step.url) {
            Some(host) => drop(hosts.insert(host)),
            None if wish.token_hosts.is_empty() => {
                let detail = format!(
                    "the workspace chooses the token endpoint's host, {}: list in token_hosts where the client's \
                     secret may go; a wildcard only for a domain that the vendor alone operates",
                    step.url.host_text()
                );
                return Err(Error::new(Code::TokenHostChosenByTenant, detail).at("/token_hosts"));
            }
            None if !listed.iter().any(|entry| may_be(entry, &step.url)) => {
                let message = format!("none of them can be the host of {}", step.url.host_text());
                problems.push(Violation::new("/token_hosts", "token_host_elsewhere", message));
            }
            None => {}
        }
    }
    if problems.is_empty() {
        return Ok(hosts.into_iter().collect());
    }
    Err(Error::violations(Code::ValidationFailed, problems.into_vec()))
}

/// The host of a URL that is fixed text.
fn fixed_host(url: &UrlTemplate) -> Option<String> {
    let labels: Option<Vec<&str>> = url.host.iter().map(|label| label.literal()).collect();
    labels.map(|labels| labels.join("."))
}

/// Whether some host that the template can make is one of an entry.
fn may_be(entry: &HostPattern, url: &UrlTemplate) -> bool {
    if url.host_variable().is_some() {
        return true;
    }
    let name = entry.below().unwrap_or_else(|| entry.as_str());
    let wanted: Vec<&str> = name.split('.').collect();
    let enough = match entry.below() {
        Some(_) => url.host.len() > wanted.len(),
        None => url.host.len() == wanted.len(),
    };
    let is_open = |parts: &[Part]| parts.iter().any(|part| matches!(part, Part::Variable(_)));
    let fits = |(label, want): (&portcullis_action::url_template::HostLabel, &&str)| {
        is_open(label.parts()) || label.literal() == Some(*want)
    };
    enough && url.host.iter().rev().zip(wanted.iter().rev()).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_host_must_be_one_that_the_template_can_make() {
        let url = |text: &str| UrlTemplate::parse(text).unwrap();
        for (entry, text, expected) in [
            ("*.my.example.com", "https://{{config.domain}}.my.example.com/token", true),
            ("acme.my.example.com", "https://{{config.domain}}.my.example.com/token", true),
            ("*.example.com", "https://{{config.domain}}.my.example.com/token", true),
            ("login.example.net", "https://{{config.host}}/token", true),
            ("acme.example.com", "https://{{config.domain}}.my.example.com/token", false),
            ("*.my.example.org", "https://{{config.domain}}.my.example.com/token", false),
            ("*.eu.my.example.com", "https://{{config.domain}}.my.example.com/token", false),
        ] {
            let entry = HostPattern::parse(entry).unwrap();
            assert_eq!(may_be(&entry, &url(text)), expected, "{entry} {text}");
        }
        assert_eq!(fixed_host(&url("https://Login.example.net/t")).as_deref(), Some("login.example.net"));
        assert_eq!(fixed_host(&url("https://{{config.a}}.example.net/t")), None);
    }
}
