//! One security scheme, as the format expresses it.

use portcullis_action::UrlTemplate;
use portcullis_core::header_rules::check_request_header;
use serde_json::{Map, Value, json};

use crate::bases::Bases;
use crate::context::Dialect;
use crate::limits::{HELP_CHARS_MAX, NAME_CHARS_MAX};
use crate::names::{one_line, paragraph, shown};

/// Where a value goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// `header`, `query` or `cookie`.
    pub(super) kind: &'static str,
    /// The name, so that every spelling of it is the same.
    pub(super) name: String,
}

/// A field of the credential form.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) label: String,
    help: Option<String>,
}

impl Field {
    /// The field as a definition has it.
    pub(super) fn document(&self) -> Value {
        let label = one_line(&self.label, NAME_CHARS_MAX).0;
        let mut field = json!({ "name": self.name, "label": label, "type": "password", "required": true });
        if let (Some(help), Some(field)) = (&self.help, field.as_object_mut()) {
            field.insert("help".to_owned(), json!(help));
        }
        field
    }
}

/// A scheme as the format expresses it.
pub(super) struct Usable {
    pub(super) auth_type: &'static str,
    pub(super) auth: Map<String, Value>,
    pub(super) fields: Vec<Field>,
    pub(super) token_host: Option<String>,
    pub(super) place: Place,
    /// The name of the header, query pair or cookie, as it is written.
    pub(super) name: String,
    /// The template of what goes there; none if there is more to do than to write it.
    pub(super) value: Option<String>,
    /// Whether a person obtains the token, because the way to it cannot be carried.
    pub(super) is_fallback: bool,
    /// What was changed: code and message.
    pub(super) notes: Vec<(&'static str, String)>,
}

impl Usable {
    fn in_authorization(auth_type: &'static str, fields: &[(&str, &str)], value: Option<&str>) -> Self {
        let field = |(name, label): &(&str, &str)| Field {
            name: (*name).to_owned(),
            label: (*label).to_owned(),
            help: None,
        };
        Self {
            auth_type,
            auth: Map::new(),
            fields: fields.iter().map(field).collect(),
            token_host: None,
            place: Place::new("header", "Authorization"),
            name: "Authorization".to_owned(),
            value: value.map(str::to_owned),
            is_fallback: false,
            notes: Vec::new(),
        }
    }

    /// What the description says of the scheme stands beside its first field.
    pub(super) fn set_help(&mut self, text: &str) {
        let help = paragraph(text, HELP_CHARS_MAX).0;
        if let Some(field) = self.fields.first_mut().filter(|_| !help.is_empty()) {
            field.help = Some(help);
        }
    }
}

/// A header's name, so that every spelling of it is the same.
pub(super) fn fold(header: &str) -> String {
    header.to_ascii_lowercase().replace('_', "-")
}

/// Reads a scheme.
///
/// # Errors
/// Why it cannot be used.
pub(super) fn read(dialect: Dialect, scheme: &Map<String, Value>, bases: &Bases) -> Result<Usable, String> {
    let text = |key: &str| scheme.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("type") {
        "http" if text("scheme").eq_ignore_ascii_case("bearer") => Ok(bearer()),
        "http" if text("scheme").eq_ignore_ascii_case("basic") => Ok(basic()),
        "http" => Err(format!("HTTP scheme {:?} is not supported", shown(text("scheme")))),
        "basic" if dialect == Dialect::Two => Ok(basic()),
        "apiKey" => api_key(text("in"), text("name")),
        "oauth2" => Ok(oauth2(dialect, scheme, bases).unwrap_or_else(|why| token(&why))),
        "openIdConnect" => Ok(token("its endpoints stand in a document of their own")),
        other => Err(format!("type {:?} is not known", shown(other))),
    }
}

/// A token that a person pastes.
pub(super) fn bearer() -> Usable {
    Usable::in_authorization("bearer", &[("token", "Token")], Some("Bearer {{cred.token}}"))
}

/// [`bearer`] in place of a way to the token that cannot be carried.
fn token(why: &str) -> Usable {
    let message = format!("the draft takes a token that was obtained elsewhere: {why}");
    Usable { is_fallback: true, notes: vec![("oauth_as_bearer", message)], ..bearer() }
}

fn basic() -> Usable {
    let fields = &[("username", "User name"), ("password", "Password")];
    let mut usable = Usable::in_authorization("basic", fields, None);
    usable.auth.insert("username".to_owned(), json!("{{cred.username}}"));
    usable.auth.insert("password".to_owned(), json!("{{cred.password}}"));
    usable
}

/// A key in a header, query pair or cookie.
pub(super) fn api_key(place: &str, name: &str) -> Result<Usable, String> {
    let (kind, is_sound) = match place {
        "header" => ("header", check_request_header(name, b"", &[]).is_ok()),
        // A cookie's name is a token like a header's (RFC 6265 section 4.1.1).
        "cookie" => {
            let token = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            ("cookie", !name.is_empty() && name.bytes().all(token))
        }
        "query" => ("query", !name.is_empty()),
        _ => ("", false),
    };
    if !is_sound || name.chars().nth(NAME_CHARS_MAX).is_some() {
        return Err(format!("a key cannot go to {:?} {:?}", shown(place), shown(name)));
    }
    let mut usable = Usable::in_authorization("api_key", &[("api_key", "API key")], Some("{{cred.api_key}}"));
    usable.auth.insert("in".to_owned(), json!(kind));
    usable.auth.insert("name".to_owned(), json!(name));
    usable.auth.insert("prefix".to_owned(), json!(""));
    usable.place = Place::new(kind, name);
    usable.name = name.to_owned();
    Ok(usable)
}

/// The flows of a scheme that can be carried: name in 3.x, and the object with its URLs.
pub(super) fn flows(
    dialect: Dialect,
    scheme: &Map<String, Value>,
) -> Vec<(&'static str, &Map<String, Value>)> {
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

fn oauth2(dialect: Dialect, scheme: &Map<String, Value>, bases: &Bases) -> Result<Usable, String> {
    let mut why = "only the flows client credentials and authorization code are known".to_owned();
    for (name, flow) in flows(dialect, scheme) {
        match read_flow(name, flow, bases) {
            Ok(usable) => return Ok(usable),
            Err(problem) => why = problem,
        }
    }
    Err(why)
}

fn read_flow(name: &str, flow: &Map<String, Value>, bases: &Bases) -> Result<Usable, String> {
    let fields = &[("client_id", "Client id"), ("client_secret", "Client secret")];
    let is_code = name == "authorizationCode";
    let auth_type = if is_code { "oauth2_authorization_code" } else { "oauth2_client_credentials" };
    let mut usable = Usable::in_authorization(auth_type, fields, None);
    let mut url = |key: &str, what: &str| {
        let written = flow.get(key).and_then(Value::as_str).unwrap_or_default().trim();
        let (url, host) = endpoint(written, bases)
            .map_err(|problem| format!("{what} URL {:?} {problem}", shown(written)))?;
        if url != written {
            let message = format!("{what} URL {:?} became {:?}", shown(written), shown(&url));
            usable.notes.push(("oauth_url_resolved", message));
        }
        Ok::<_, String>((url, host))
    };
    let (token_url, host) = url("tokenUrl", "token")?;
    if is_code {
        let (authorize_url, _) = url("authorizationUrl", "authorization")?;
        usable.auth.insert("authorize_url".to_owned(), json!(authorize_url));
        usable.auth.insert("pkce".to_owned(), json!("S256"));
    }
    usable.token_host = host;
    usable.auth.insert("token_url".to_owned(), json!(token_url));
    Ok(usable)
}

/// An endpoint as an absolute URL, and its host unless it is the base's own.
///
/// A relative one is resolved against the server (OpenAPI 3.1, "Relative References in API URLs"); the base's config
/// fields stay in it.
fn endpoint(url: &str, bases: &Bases) -> Result<(String, Option<String>), &'static str> {
    if url.is_empty() {
        return Err("is missing");
    }
    if url.len() > 2048 || url.contains(['{', '}']) {
        return Err("is too long or has variables");
    }
    let absolute = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => format!("https://{rest}"),
        Some(_) => url.to_owned(),
        None => match url.strip_prefix("//") {
            Some(rest) => format!("https://{rest}"),
            None => {
                return bases.join(url).map(|url| (url, None)).ok_or("cannot be resolved against the server");
            }
        },
    };
    let template = UrlTemplate::parse(&absolute).map_err(|_| "is not an absolute https URL")?;
    if template.port.is_some_and(|port| port != 443) {
        return Err("has a port");
    }
    let host = crate::servers::domain(&template.host_text()).map_err(|_| "has no host that may be named")?;
    Ok((absolute, Some(host)))
}
