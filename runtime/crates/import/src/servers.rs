//! Server URLs: from `https://{region}.example.com/{version}` to a base of URL templates.

use portcullis_action::UrlTemplate;
use portcullis_core::host_pattern::HostPattern;
use serde_json::{Map, Value};

use crate::names::shown;
use crate::url::{Piece, pieces, push_encoded};

/// What a server's variable becomes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Choice {
    /// A config field; the description's variable object, if it is declared.
    Config,
    /// Its default, as fixed text.
    Fixed(String),
}

/// A server URL that a connector may use.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Server {
    /// Its host: `{name}` where a variable remains.
    pub(crate) host: String,
    /// Path without a slash at its end; `{name}` where a variable remains.
    pub(crate) path: String,
    /// Port, if it is not 443.
    pub(crate) port: Option<u16>,
    /// Entry of `allowed_domains`.
    pub(crate) domain: String,
    /// Remaining variables, in order; the flag marks one in the host.
    pub(crate) variables: Vec<(String, bool)>,
    /// What was changed: code and message.
    pub(crate) notes: Vec<(&'static str, String)>,
}

/// Why a server cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerProblem {
    /// It has no host; the path is given.
    Relative(String),
    /// Any other reason.
    Unusable(String),
}

fn unusable<T>(url: &str, why: &str) -> Result<T, ServerProblem> {
    Err(ServerProblem::Unusable(format!("server {:?} {why}", shown(url))))
}

/// Reads a server URL with its variables.
pub(crate) fn read(url: &str, variables: Option<&Map<String, Value>>) -> Result<Server, ServerProblem> {
    let mut notes = Vec::new();
    let url = url.trim();
    if url.len() > crate::limits::PATH_BYTES_MAX {
        return unusable(url, "is too long");
    }
    let Some((plain_http, rest)) = split_scheme(url, &mut notes)? else {
        return Err(ServerProblem::Relative(url.to_owned()));
    };
    let (authority, path) = split_outside_braces(rest, '/');
    if rest.contains(['?', '#']) {
        return unusable(url, "has a query or a fragment");
    }
    if authority.contains(['@', '[']) {
        return unusable(url, "has a user name or an IP address in it");
    }
    let (host, port) = split_outside_braces(authority, ':');
    let port = match port.map(|text| read_port(text, variables)) {
        None | Some(Some(443)) => None,
        Some(Some(80)) if plain_http => None,
        Some(Some(port)) if !plain_http => Some(port),
        Some(_) => return unusable(url, "has a port that is not used for https"),
    };
    if let Some(port) = port {
        notes.push(("port_not_443", format!("port {port} is put into egress.ports")));
    }
    let mut left = Vec::new();
    let (host, domain) = host_and_domain(url, host, variables, &mut left, &mut notes)?;
    let path = path_text(url, path.unwrap_or_default(), variables, &mut left, &mut notes)?;
    Ok(Server { host, path, port, domain, variables: left, notes })
}

/// Whether it is plain http, and the rest after the scheme; `None` for a relative URL.
fn split_scheme<'u>(
    url: &'u str,
    notes: &mut Vec<(&'static str, String)>,
) -> Result<Option<(bool, &'u str)>, ServerProblem> {
    if let Some(rest) = url.strip_prefix("//") {
        return Ok(Some((false, rest)));
    }
    let Some((scheme, rest)) = url.split_once("://").filter(|(s, _)| !s.contains(['/', '?', '#'])) else {
        return Ok(None);
    };
    if scheme.eq_ignore_ascii_case("https") {
        return Ok(Some((false, rest)));
    }
    let variable = scheme.starts_with('{') && scheme.ends_with('}');
    if !variable && !scheme.eq_ignore_ascii_case("http") {
        return unusable(url, "is neither https nor http");
    }
    notes.push(("server_not_https", format!("{scheme:?} became https: nothing else is supported")));
    Ok(Some((!variable, rest)))
}

/// Splits at the first `stop` that is not inside braces; `stop` itself is dropped.
fn split_outside_braces(text: &str, stop: char) -> (&str, Option<&str>) {
    let mut inside = false;
    for (at, ch) in text.char_indices() {
        match ch {
            '{' => inside = true,
            '}' => inside = false,
            _ if ch == stop && !inside => {
                return (text.get(..at).unwrap_or_default(), text.get(at + ch.len_utf8()..));
            }
            _ => {}
        }
    }
    (text, None)
}

fn read_port(text: &str, variables: Option<&Map<String, Value>>) -> Option<u16> {
    let name = text.strip_prefix('{').and_then(|t| t.strip_suffix('}'));
    let text = match name {
        Some(name) => default_of(name, variables)?,
        None => text.to_owned(),
    };
    text.parse().ok().filter(|port| *port != 0)
}

fn declared<'v>(name: &str, variables: Option<&'v Map<String, Value>>) -> Option<&'v Value> {
    variables.and_then(|v| v.get(name))
}

/// The default of a variable; in YAML, versions and ports may be numbers. A default such as `{name}` is none.
fn default_of(name: &str, variables: Option<&Map<String, Value>>) -> Option<String> {
    value_text(declared(name, variables)?.get("default")?).filter(|text| !text.contains(['{', '}']))
}

/// A text, or the text of a number.
pub(crate) fn value_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The `enum` of a variable as texts.
pub(crate) fn enum_of(variable: Option<&Value>) -> Vec<String> {
    let list = variable.and_then(|v| v.get("enum")).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(value_text).collect()
}

/// A variable remains one if every value that is known of it is valid at its position.
fn choose(name: &str, variables: Option<&Map<String, Value>>, stands: fn(&str) -> bool) -> Choice {
    let default = default_of(name, variables).filter(|d| !d.is_empty());
    let values = enum_of(declared(name, variables));
    let all = values.iter().chain(&default).all(|value| stands(value));
    match default {
        Some(default) if !all => Choice::Fixed(default),
        None if !all => Choice::Fixed(values.into_iter().next().unwrap_or_default()),
        _ => Choice::Config,
    }
}

fn host_and_domain(
    url: &str,
    host: &str,
    variables: Option<&Map<String, Value>>,
    left: &mut Vec<(String, bool)>,
    notes: &mut Vec<(&'static str, String)>,
) -> Result<(String, String), ServerProblem> {
    let parts = pieces(host).or_else(|why| unusable(url, why))?;
    let is_label_text = |v: &str| !v.is_empty() && v.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let mut first_problem = None;
    let count = parts.iter().filter(|part| matches!(part, Piece::Variable(_))).count();
    // Why again and again: if anyone can register a name below a variable, its default alone is safe, and so are those
    // of the variables to its right.
    for open in (0..=count).rev() {
        let mut text = String::new();
        let mut names = Vec::new();
        let mut fixed = Vec::new();
        let mut met = 0;
        for part in &parts {
            met += usize::from(matches!(part, Piece::Variable(_)));
            match part {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Variable(name) => match choose(name, variables, is_label_text) {
                    Choice::Config if met <= open => {
                        text.push_str(&format!("{{{name}}}"));
                        names.push(((*name).to_owned(), true));
                    }
                    Choice::Config => {
                        let default = default_of(name, variables).unwrap_or_default();
                        fixed.push(fixed_note(name, &default));
                        text.push_str(&default);
                    }
                    Choice::Fixed(default) => {
                        fixed.push(fixed_note(name, &default));
                        text.push_str(&default);
                    }
                },
            }
        }
        match domain(&text) {
            Ok(domain) => {
                left.extend(names);
                notes.extend(fixed);
                return Ok((text, domain));
            }
            Err(why) => first_problem = first_problem.or(Some(why)),
        }
    }
    unusable(url, &format!("cannot be used: {}", first_problem.unwrap_or_default()))
}

fn fixed_note(name: &str, value: &str) -> (&'static str, String) {
    let message =
        format!("variable {:?} cannot be a config field; {:?} stands for it", shown(name), shown(value));
    ("server_variable_fixed", message)
}

/// The entry of `allowed_domains` that covers a host: the host, or `*.` and what follows its last
/// variable label.
pub(crate) fn domain(host: &str) -> Result<String, String> {
    let parts = pieces(host)?;
    // Why here and not left to the parser: a `/` would end the host and make the rest a path.
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    if !parts
        .iter()
        .all(|piece| matches!(piece, Piece::Variable(_)) || matches!(piece, Piece::Literal(t) if plain(t)))
    {
        return Err(format!("{:?} is not a host", shown(host)));
    }
    let shape: String = parts
        .iter()
        .map(|piece| match piece {
            Piece::Literal(text) => text,
            Piece::Variable(_) => "{{config.x}}",
        })
        .collect();
    let template = UrlTemplate::parse(&format!("https://{shape}/")).map_err(|e| e.to_string())?;
    let labels: Vec<Option<&str>> = template.host.iter().map(|label| label.literal()).collect();
    let fixed: Vec<&str> = labels.iter().rev().map_while(|label| *label).collect();
    let name = fixed.iter().rev().copied().collect::<Vec<_>>().join(".");
    let entry = if fixed.len() == labels.len() { name } else { format!("*.{name}") };
    match HostPattern::parse(&entry) {
        Ok(pattern) if pattern.covers(&template) => Ok(entry),
        Ok(_) => Err(format!("{entry} does not cover its host")),
        Err(e) => Err(e.to_string()),
    }
}

fn path_text(
    url: &str,
    path: &str,
    variables: Option<&Map<String, Value>>,
    left: &mut Vec<(String, bool)>,
    notes: &mut Vec<(&'static str, String)>,
) -> Result<String, ServerProblem> {
    let parts = pieces(path).or_else(|why| unusable(url, why))?;
    let is_segment = |v: &str| !v.is_empty() && !v.contains('/') && v != "." && v != "..";
    let mut out = String::from("/");
    for part in parts {
        match part {
            Piece::Literal(literal) => push_encoded(literal, &mut out),
            Piece::Variable(name) => match choose(name, variables, is_segment) {
                // Why: a declared variable without a value is an optional piece of the path.
                Choice::Config if default_of(name, variables).is_some_and(|d| d.is_empty()) => {
                    notes.push(fixed_note(name, ""));
                }
                Choice::Config => {
                    out.push_str(&format!("{{{name}}}"));
                    left.push((name.to_owned(), false));
                }
                Choice::Fixed(default) => {
                    notes.push(fixed_note(name, &default));
                    push_encoded(&default, &mut out);
                }
            },
        }
    }
    if crate::url::path_problem(&out).is_some() {
        return unusable(url, "has a `.` or `..` segment");
    }
    Ok(format!("/{}", out.trim_matches('/')).trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn server(url: &str, variables: &Value) -> Result<(String, String, Option<u16>, String), ServerProblem> {
        read(url, variables.as_object()).map(|s| (s.host, s.path, s.port, s.domain))
    }

    fn good(url: &str, variables: &Value, host: &str, path: &str, domain: &str) {
        let expected = (host.to_owned(), path.to_owned(), None, domain.to_owned());
        assert_eq!(server(url, variables), Ok(expected), "{url}");
    }

    #[test]
    fn a_fixed_host_is_its_own_domain() {
        let none = json!({});
        good("https://api.example.com", &none, "api.example.com", "", "api.example.com");
        good("https://api.example.com/", &none, "api.example.com", "", "api.example.com");
        good("HTTPS://api.example.com:443/v1/", &none, "api.example.com", "/v1", "api.example.com");
        good("//api.example.com/a b", &none, "api.example.com", "/a%20b", "api.example.com");
        good("http://api.example.com:80/v1", &none, "api.example.com", "/v1", "api.example.com");
        assert_eq!(read("http://api.example.com", None).unwrap().notes[0].0, "server_not_https");
        assert_eq!(read("https://api.example.com:8443", None).unwrap().port, Some(8443));
    }

    #[test]
    fn a_variable_in_the_host_is_a_label_below_a_wildcard() {
        let region = json!({ "region": { "default": "us", "enum": ["us", "eu"] }, "v": { "default": "v1" } });
        let host = "{region}.example.com";
        good("https://{region}.example.com/{v}", &region, host, "/{v}", "*.example.com");
        let mixed = "a-{region}.eu.example.com";
        good(&format!("https://{mixed}"), &region, mixed, "", "*.eu.example.com");
        let inner = "api.{region}.example.com";
        good(&format!("https://{inner}"), &region, inner, "", "*.example.com");
        good("https://{x}.example.com", &json!({}), "{x}.example.com", "", "*.example.com");
    }

    #[test]
    fn a_variable_that_cannot_be_a_config_field_keeps_its_default() {
        let dotted = json!({ "host": { "default": "api.example.com" }, "base": { "default": "api/v3" } });
        good("https://{host}/{base}", &dotted, "api.example.com", "/api/v3", "api.example.com");
        let shop = json!({ "shop": { "default": "demo" } });
        good("https://{shop}.co.uk", &shop, "demo.co.uk", "", "demo.co.uk");
        good("https://{shop}.myshopify.com", &shop, "{shop}.myshopify.com", "", "*.myshopify.com");
        good(
            "https://a.example.com/{v}",
            &json!({ "v": { "default": "" } }),
            "a.example.com",
            "",
            "a.example.com",
        );
        let any = json!({ "scheme": { "default": "https" }, "port": { "default": 443 } });
        good("{scheme}://a.example.com:{port}", &any, "a.example.com", "", "a.example.com");
    }

    #[test]
    fn what_a_connector_may_not_name_is_refused() {
        for url in [
            "https://10.0.0.1/v1",
            "https://[::1]/",
            "https://localhost",
            "https://user@api.example.com",
            "https://{shop}.co.uk",
            "https://{host}/",
            "https://api.{tld}",
            "http://api.example.com:8080",
            "https://api.example.com:{port}",
            "wss://api.example.com",
            "https://api.example.com/?a=1",
            "https://api.example.com/../x",
            "https://",
            "https://{a.example.com",
        ] {
            assert!(matches!(read(url, None), Err(ServerProblem::Unusable(_))), "{url}");
        }
        for url in ["/", "/v1", "v1", "", "{base}/v1"] {
            assert!(matches!(read(url, None), Err(ServerProblem::Relative(_))), "{url}");
        }
    }
}
