//! Security schemes: the one that the draft uses, and the parameters that carry credentials.

use std::collections::HashSet;

use portcullis_action::UrlTemplate;
use portcullis_core::header_rules::check_request_header;
use serde_json::{Map, Value, json};

use crate::bases::Bases;
use crate::context::{Context, Dialect};
use crate::limits::{NAME_CHARS_MAX, SCOPES_MAX};
use crate::names::shown;
use crate::select::Operation;
use portcullis_core::violation::step;

/// How the draft authenticates.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    /// The scheme's name in the description.
    scheme: Option<String>,
    /// `auth_type`.
    pub(crate) auth_type: &'static str,
    /// `auth`.
    pub(crate) auth: Option<Value>,
    /// `auth_schema.fields`.
    pub(crate) fields: Vec<Value>,
    headers: HashSet<String>,
    queries: HashSet<String>,
}

fn fold(header: &str) -> String {
    header.to_ascii_lowercase().replace('_', "-")
}

impl Credentials {
    /// Whether a credential goes into that header.
    pub(crate) fn has_header(&self, name: &str) -> bool {
        self.headers.contains(&fold(name))
    }

    /// Whether a credential goes into that query pair.
    pub(crate) fn has_query(&self, name: &str) -> bool {
        self.queries.contains(&name.to_ascii_lowercase())
    }

    /// Reports an operation that requires another credential than the draft has.
    pub(crate) fn compare(&self, context: &mut Context<'_>, operation: &Operation<'_>) {
        let Some(list) = operation.object.get("security").and_then(Value::as_array) else { return };
        let accepts = |requirement: &Value| {
            let names: Option<Vec<&String>> = requirement.as_object().map(|r| r.keys().collect());
            match names.as_deref() {
                Some([]) => true,
                Some([name]) => Some(*name) == self.scheme.as_ref(),
                _ => false,
            }
        };
        if !list.is_empty() && !list.iter().any(accepts) {
            let message = "it asks for a credential that the draft does not have";
            context.report.add(&format!("{}/security", operation.at), "operation_security", message);
        }
    }
}

/// A scheme as the format expresses it.
struct Usable {
    auth_type: &'static str,
    auth: Option<Map<String, Value>>,
    fields: &'static [(&'static str, &'static str)],
    token_host: Option<String>,
}

/// Chooses the scheme of the draft and reports the others.
pub(crate) fn choose<'a>(
    context: &mut Context<'a>,
    operations: &[Operation<'a>],
    bases: &mut Bases,
) -> Credentials {
    let root = context.root;
    let (schemes, schemes_at) = match context.dialect {
        Dialect::Two => (root.get("securityDefinitions"), "/securityDefinitions"),
        Dialect::Three => (root.pointer("/components/securitySchemes"), "/components/securitySchemes"),
    };
    let mut credentials = Credentials { auth_type: "none", ..Credentials::default() };
    let Some(schemes) = schemes.and_then(Value::as_object) else { return credentials };
    note_parameters(context, schemes, schemes_at, &mut credentials);
    let candidates = candidates(context, operations);
    let mut reasons = Vec::new();
    for name in &candidates {
        let at = format!("{schemes_at}/{}", step(name));
        let Some(scheme) = schemes.get(*name) else { continue };
        let Some(scheme) = context.object(scheme, &at) else { continue };
        let found = read_scheme(context.dialect, scheme).and_then(|usable| match &usable.token_host {
            Some(host) if !bases.allow(host) => {
                Err("its token host would exceed the limit of hosts".to_owned())
            }
            _ => Ok(usable),
        });
        match found {
            Ok(usable) => {
                take(context, operations, (*name, scheme, &at), usable, &mut credentials);
                break;
            }
            Err(why) => reasons.push(((*name).to_owned(), why)),
        }
    }
    report_others(context, schemes, schemes_at, &reasons, &credentials);
    credentials
}

fn take<'a>(
    context: &mut Context<'a>,
    operations: &[Operation<'a>],
    (name, scheme, at): (&str, &Map<String, Value>, &str),
    usable: Usable,
    credentials: &mut Credentials,
) {
    let mut auth = usable.auth;
    if let Some(auth) = auth.as_mut().filter(|auth| auth.contains_key("token_url")) {
        auth.insert("scopes".to_owned(), json!(scopes(context, operations, name, scheme, at)));
    }
    credentials.scheme = Some(name.to_owned());
    credentials.auth_type = usable.auth_type;
    credentials.auth = auth.map(Value::Object);
    credentials.fields = usable
        .fields
        .iter()
        .map(|(name, label)| json!({ "name": name, "label": label, "type": "password", "required": true }))
        .collect();
    if usable.auth_type != "api_key" {
        credentials.headers.insert("authorization".to_owned());
    }
}

/// Records where API keys go, chosen or not: these are no inputs.
fn note_parameters<'a>(
    context: &mut Context<'a>,
    schemes: &'a Map<String, Value>,
    at: &str,
    credentials: &mut Credentials,
) {
    for (name, scheme) in schemes {
        let Some(scheme) = context.object(scheme, &format!("{at}/{}", step(name))) else { continue };
        let text = |key: &str| scheme.get(key).and_then(Value::as_str).unwrap_or_default();
        match (text("type"), text("in")) {
            ("apiKey", "header") => credentials.headers.insert(fold(text("name"))),
            ("apiKey", "query") => credentials.queries.insert(text("name").to_ascii_lowercase()),
            _ => continue,
        };
    }
}

/// Names of schemes that are sufficient alone: the description's in its order, otherwise the operations',
/// the most used first.
fn candidates<'a>(context: &mut Context<'a>, operations: &[Operation<'a>]) -> Vec<&'a str> {
    let root = context.root;
    let global = root.get("security").and_then(Value::as_array);
    let mut names = alone(context, global, "/security");
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for operation in operations {
        let own = operation.object.get("security").and_then(Value::as_array);
        for name in alone(context, own, &format!("{}/security", operation.at)) {
            match counts.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => *count += 1,
                None => counts.push((name, 1)),
            }
        }
    }
    // A stable sort: of two that are used equally often, the first one met.
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (name, _) in counts {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn alone<'a>(context: &mut Context<'a>, list: Option<&'a Vec<Value>>, at: &str) -> Vec<&'a str> {
    let mut names = Vec::new();
    for requirement in list.into_iter().flatten().filter_map(Value::as_object) {
        if requirement.len() > 1 {
            let what = "several credentials at once are asked for; the draft has one";
            context.report.tally(at, "security_combination", what);
        } else {
            names.extend(requirement.keys().map(String::as_str));
        }
    }
    names
}

fn report_others(
    context: &mut Context<'_>,
    schemes: &Map<String, Value>,
    at: &str,
    reasons: &[(String, String)],
    credentials: &Credentials,
) {
    for name in schemes.keys().filter(|name| credentials.scheme.as_ref() != Some(name)) {
        let reason = reasons.iter().find(|(known, _)| known == name).map(|(_, why)| why.as_str());
        let other = match &credentials.scheme {
            Some(chosen) => format!("{:?} was chosen", shown(chosen)),
            None => "no operation asks for it alone".to_owned(),
        };
        let message = format!("scheme {:?} is not carried: {}", shown(name), reason.unwrap_or(&other));
        context.report.add(&format!("{at}/{}", step(name)), "security_scheme_not_carried", message);
    }
    if credentials.scheme.is_none() {
        context.report.add(at, "no_security", "the draft has no credential: no scheme could be used");
    }
}

fn read_scheme(dialect: Dialect, scheme: &Map<String, Value>) -> Result<Usable, String> {
    let text = |key: &str| scheme.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("type") {
        "http" if text("scheme").eq_ignore_ascii_case("bearer") => Ok(bearer()),
        "http" if text("scheme").eq_ignore_ascii_case("basic") => Ok(basic()),
        "http" => Err(format!("HTTP scheme {:?} is not supported", shown(text("scheme")))),
        "basic" if dialect == Dialect::Two => Ok(basic()),
        "apiKey" => api_key(text("in"), text("name")),
        "oauth2" => oauth2(dialect, scheme),
        other => Err(format!("type {:?} is not known", shown(other))),
    }
}

fn bearer() -> Usable {
    Usable { auth_type: "bearer", auth: None, fields: &[("token", "Token")], token_host: None }
}

fn basic() -> Usable {
    let mut auth = Map::new();
    auth.insert("username".to_owned(), json!("{{cred.username}}"));
    auth.insert("password".to_owned(), json!("{{cred.password}}"));
    let fields = &[("username", "User name"), ("password", "Password")];
    Usable { auth_type: "basic", auth: Some(auth), fields, token_host: None }
}

fn api_key(place: &str, name: &str) -> Result<Usable, String> {
    let sound = match place {
        "header" => check_request_header(name, b"", &[]).is_ok(),
        // A cookie's name is a token like a header's (RFC 6265 section 4.1.1).
        "cookie" => {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        }
        "query" => !name.is_empty(),
        _ => false,
    };
    if !sound || name.chars().nth(NAME_CHARS_MAX).is_some() {
        return Err(format!("a key cannot go to {:?} {:?}", shown(place), shown(name)));
    }
    let mut auth = Map::new();
    auth.insert("in".to_owned(), json!(place));
    auth.insert("name".to_owned(), json!(name));
    auth.insert("prefix".to_owned(), json!(""));
    let fields = &[("api_key", "API key")];
    Ok(Usable { auth_type: "api_key", auth: Some(auth), fields, token_host: None })
}

/// The flow of a scheme: its name in 3.x, and the object with its URLs.
fn flows(dialect: Dialect, scheme: &Map<String, Value>) -> Vec<(&'static str, &Map<String, Value>)> {
    if dialect == Dialect::Two {
        return match scheme.get("flow").and_then(Value::as_str) {
            Some("application") => vec![("clientCredentials", scheme)],
            Some("accessCode") => vec![("authorizationCode", scheme)],
            _ => Vec::new(),
        };
    }
    let flows = scheme.get("flows");
    ["clientCredentials", "authorizationCode"]
        .into_iter()
        .filter_map(|name| Some((name, flows?.get(name)?.as_object()?)))
        .collect()
}

fn oauth2(dialect: Dialect, scheme: &Map<String, Value>) -> Result<Usable, String> {
    const CLIENT: &[(&str, &str)] = &[("client_id", "Client id"), ("client_secret", "Client secret")];
    let mut why = "only the flows client credentials and authorization code are known".to_owned();
    for (name, flow) in flows(dialect, scheme) {
        let url = |key: &str| flow.get(key).and_then(Value::as_str).unwrap_or_default();
        let token_url = url("tokenUrl");
        let host = match https_host(token_url) {
            Ok(host) => host,
            Err(problem) => {
                why = format!("token URL {:?} {problem}", shown(token_url));
                continue;
            }
        };
        let mut auth = Map::new();
        let mut auth_type = "oauth2_client_credentials";
        if name == "authorizationCode" {
            let authorize_url = url("authorizationUrl");
            if let Err(problem) = https_host(authorize_url) {
                why = format!("authorization URL {:?} {problem}", shown(authorize_url));
                continue;
            }
            auth_type = "oauth2_authorization_code";
            auth.insert("authorize_url".to_owned(), json!(authorize_url));
            auth.insert("pkce".to_owned(), json!("S256"));
        }
        auth.insert("token_url".to_owned(), json!(token_url));
        return Ok(Usable { auth_type, auth: Some(auth), fields: CLIENT, token_host: Some(host) });
    }
    Err(why)
}

/// The host of an absolute `https` URL without variables.
fn https_host(url: &str) -> Result<String, &'static str> {
    if url.len() > 2048 || url.contains(['{', '}']) {
        return Err("is too long or has variables");
    }
    let template = UrlTemplate::parse(url).map_err(|_| "is not an absolute https URL")?;
    if template.port.is_some_and(|port| port != 443) {
        return Err("has a port");
    }
    let host = template.host_text();
    match crate::servers::domain(&host) {
        Ok(domain) => Ok(domain),
        Err(_) => Err("has no host that may be named"),
    }
}

/// The scopes that the operations require, of those that the scheme declares; all declared ones if
/// none is required.
fn scopes<'a>(
    context: &mut Context<'a>,
    operations: &[Operation<'a>],
    name: &str,
    scheme: &Map<String, Value>,
    at: &str,
) -> Vec<String> {
    let flows = flows(context.dialect, scheme);
    let declared: Vec<&String> = flows
        .iter()
        .filter_map(|(_, flow)| flow.get("scopes")?.as_object())
        .flat_map(|scopes| scopes.keys())
        .collect();
    let declared_set: HashSet<&str> = declared.iter().map(|s| s.as_str()).collect();
    let global = context.root.get("security");
    let mut seen = HashSet::new();
    let mut asked: Vec<String> = Vec::new();
    for operation in operations {
        let list = operation.object.get("security").or(global).and_then(Value::as_array);
        for requirement in list.into_iter().flatten() {
            let scopes = requirement.get(name).and_then(Value::as_array);
            for scope in scopes.into_iter().flatten().filter_map(Value::as_str) {
                if (declared_set.is_empty() || declared_set.contains(scope)) && seen.insert(scope) {
                    asked.push(scope.to_owned());
                }
            }
        }
    }
    if asked.is_empty() {
        asked = declared.into_iter().cloned().collect();
    }
    asked.retain(|scope| !scope.is_empty() && scope.len() <= 500);
    if asked.len() > SCOPES_MAX {
        let message = format!("{} scopes are asked for, the limit is {SCOPES_MAX}", asked.len());
        context.report.add(at, "scopes_cut", message);
        asked.truncate(SCOPES_MAX);
    }
    asked
}
