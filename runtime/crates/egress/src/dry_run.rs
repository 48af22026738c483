//! A dry run: the request that would be sent, shown without its secrets, and the hash of a request. Called by
//! the guard.
//!
//! The request is shown after every check that needs no network, from the same message that a real call
//! sends. No credential is opened and nothing is sent. A real call takes its hash at the same point.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use memchr::{memchr, memmem};
use portcullis_action::template::{Part, Scope, Template, scalar_text};
use portcullis_core::hex;
use portcullis_core::injection::{HeaderFill, Injection};
use portcullis_core::percent_encode;
use portcullis_core::signing::{SigV4Plan, Signing};
use portcullis_core::target::Target;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::error::SendError;
use crate::redirect::Hop;
use crate::request;

/// A request as it would be sent; a secret is shown as `<credential NAME>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DryRun {
    pub method: String,
    /// With its query.
    pub url: String,
    /// In order, with the headers that the host sets.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// SHA-256 of the request without its credential, hexadecimal.
    pub hash: String,
}

/// The hash of a request before the credential: method, URL, the guest's headers and the body. A dry run and
/// the real call have the same. `varying` are texts that differ from run to run; they are left out.
pub(crate) fn hash(target: &Target, hop: &Hop, varying: &[String]) -> String {
    let mut headers: Vec<(&HeaderName, &HeaderValue)> = hop.headers.iter().collect();
    headers.sort_by(|one, other| line(one).flatten().cmp(line(other).flatten()));
    let head = [hop.method.as_str(), " ", target.origin(), target.origin_form(), "\n"].map(str::as_bytes);
    let parts = || head.into_iter().chain(headers.iter().flat_map(line)).chain([b"\n", hop.body.as_ref()]);
    let mut text = Vec::with_capacity(parts().map(<[u8]>::len).sum());
    parts().for_each(|part| text.extend_from_slice(part));
    for part in varying {
        remove(&mut text, part.as_bytes());
    }
    hex::encode(digest(&SHA256, &text).as_ref())
}

/// A header as it is hashed, in parts.
fn line<'a>((name, value): &(&'a HeaderName, &'a HeaderValue)) -> impl Iterator<Item = &'a [u8]> {
    [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].into_iter()
}

/// Removes every occurrence of `part` from `text`.
fn remove(text: &mut Vec<u8>, part: &[u8]) {
    let places = places(text, part);
    if places.is_empty() {
        return;
    }
    let mut kept = Vec::with_capacity(text.len());
    let mut from = 0;
    for at in places {
        kept.extend_from_slice(text.get(from..at).unwrap_or_default());
        from = at + part.len();
    }
    kept.extend_from_slice(text.get(from..).unwrap_or_default());
    *text = kept;
}

/// The longest text that is searched by `memchr`. For short texts preparing `memmem` takes longer than the
/// search. The limit bounds the work on a text that repeats the beginning of the part.
const SHORT_BYTES: usize = 4096;

/// Where `part` is in `text`, from the left, without overlaps; nowhere when it is empty.
fn places(text: &[u8], part: &[u8]) -> Vec<usize> {
    let Some(first) = part.first() else { return Vec::new() };
    if text.len() > SHORT_BYTES {
        return memmem::find_iter(text, part).collect();
    }
    let mut places = Vec::new();
    let (mut from, mut rest) = (0, text);
    while let Some(at) = memchr(*first, rest) {
        let here = rest.get(at..).unwrap_or_default();
        let skipped = if here.starts_with(part) {
            places.push(from + at);
            part.len()
        } else {
            1
        };
        from += at + skipped;
        rest = here.get(skipped..).unwrap_or_default();
    }
    places
}

/// The request as a dry run shows it.
pub(crate) fn show(
    target: &Target,
    hop: &Hop,
    injection: &Injection,
    config: &Map<String, Value>,
    hash: String,
) -> Result<DryRun, SendError> {
    let mut draft = request::draft(target, hop)?;
    let mut shown: Vec<(String, String)> = Vec::new();
    if hop.credential {
        let coding = if draft.is_form() { encoded } else { str::to_owned };
        let members: Vec<(Vec<String>, Zeroizing<String>)> = injection
            .body
            .iter()
            .map(|(path, value)| (path.clone(), Zeroizing::new(coded(value, config, coding))))
            .collect();
        if !members.is_empty() && draft.has_body() {
            let forbidden = || SendError::from(portcullis_core::fault::Code::BodyForbidden);
            draft.fill_body_coded(&members).ok_or_else(forbidden)?;
        }
        for (name, value) in &injection.query {
            draft.uri.push(if draft.uri.contains('?') { '&' } else { '?' });
            draft.uri.push_str(&format!("{}={}", encoded(name), coded(value, config, encoded)));
        }
        shown = headers(injection, config);
        if let Some(signing) = &injection.signing {
            shown.extend(signed(signing, &draft.body, config));
        }
    }
    let own = draft.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let kept: Vec<_> = own.filter(|(name, _)| !shown.iter().any(|(other, _)| other == name)).collect();
    Ok(DryRun {
        method: hop.method.as_str().to_owned(),
        url: format!("{}{}", target.origin(), draft.uri),
        headers: kept.into_iter().chain(shown).collect(),
        body: draft.body.to_vec(),
        hash,
    })
}

/// The headers that carry the credential.
fn headers(injection: &Injection, config: &Map<String, Value>) -> Vec<(String, String)> {
    let mut shown = Vec::new();
    for (name, fill) in &injection.headers {
        let value = match fill {
            HeaderFill::Text(template) => text(template, config),
            HeaderFill::Basic { username, password, .. } => {
                format!("Basic base64({}:{})", text(username, config), text(password, config))
            }
        };
        shown.push((name.as_str().to_owned(), value));
    }
    let cookies: Vec<String> =
        injection.cookies.iter().map(|(name, value)| format!("{name}={}", text(value, config))).collect();
    if !cookies.is_empty() {
        shown.push(("cookie".to_owned(), cookies.join("; ")));
    }
    shown
}

/// The headers that a signature sets, with marks for values that only a real call has.
fn signed(signing: &Signing, body: &[u8], config: &Map<String, Value>) -> Vec<(String, String)> {
    let mark = |name: &http::HeaderName, mark: &str| (name.as_str().to_owned(), mark.to_owned());
    match signing {
        Signing::Hmac(plan) => {
            let time = plan.timestamp_header.iter().map(|name| mark(name, "<timestamp>"));
            let nonce = plan.nonce_header.iter().map(|name| mark(name, "<nonce>"));
            let value = plan.format.as_ref().map_or("<signature>".to_owned(), |format| text(format, config));
            time.chain(nonce).chain([(plan.header.as_str().to_owned(), value)]).collect()
        }
        Signing::SigV4(plan) => sigv4(plan, body, config),
        Signing::OAuth1(_) => vec![mark(&http::header::AUTHORIZATION, "<signature>")],
    }
}

fn sigv4(plan: &SigV4Plan, body: &[u8], config: &Map<String, Value>) -> Vec<(String, String)> {
    let payload = match plan.unsigned_payload {
        true => "UNSIGNED-PAYLOAD".to_owned(),
        false => hex::encode(digest(&SHA256, body).as_ref()),
    };
    let mut headers = vec![
        ("authorization".to_owned(), "<signature>".to_owned()),
        ("x-amz-date".to_owned(), "<timestamp>".to_owned()),
        ("x-amz-content-sha256".to_owned(), payload),
    ];
    let token = plan.session_token.as_ref().map(|token| text(token, config));
    headers.extend(token.map(|token| ("x-amz-security-token".to_owned(), token)));
    headers
}

/// A template with names instead of secrets.
fn text(template: &Template, config: &Map<String, Value>) -> String {
    coded(template, config, str::to_owned)
}

/// The same with values encoded; the names that stand for secrets stay readable.
fn coded(template: &Template, config: &Map<String, Value>, coding: fn(&str) -> String) -> String {
    let parts = template.parts.iter().map(|part| match part {
        Part::Literal(text) => coding(text),
        Part::Variable(variable) => match variable.scope {
            Scope::Jwt => "<signed jwt>".to_owned(),
            Scope::Sign => format!("<{}>", variable.name),
            _ => match config.get(&variable.name).and_then(scalar_text) {
                Some(text) => coding(&text),
                None => format!("<credential {}>", variable.name),
            },
        },
    });
    parts.collect()
}

fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    percent_encode(text, &mut out);
    out
}

impl DryRun {
    /// Replaces a value by `<input NAME>`, in every form in which a request can have it.
    pub fn hide(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        let json = Value::String(value.to_owned()).to_string();
        let json = json.trim_matches('"').to_owned();
        let shown = format!("<input {name}>");
        for form in [json.as_str(), value, encoded(value).as_str()] {
            self.replace(form, &shown);
        }
    }

    /// Shows one text in the place of another, wherever the request has it.
    pub fn replace(&mut self, text: &str, shown: &str) {
        self.url = self.url.replace(text, shown);
        for (_, value) in &mut self.headers {
            *value = value.replace(text, shown);
        }
        if let Ok(body) = std::str::from_utf8(&self.body) {
            self.body = body.replace(text, shown).into_bytes();
        }
    }

    /// The body for people: text, or `base64:` and the base64 of the bytes.
    #[must_use]
    pub fn body_text(&self) -> String {
        match std::str::from_utf8(&self.body) {
            Ok(text) => text.to_owned(),
            Err(_) => format!("base64:{}", STANDARD.encode(&self.body)),
        }
    }

    /// The same request as a command line of curl, quoted for a POSIX shell.
    #[must_use]
    pub fn curl(&self) -> String {
        let mut line = format!("curl -X {} {}", self.method, quoted(&self.url));
        for (name, value) in &self.headers {
            // Why left out: curl sets these itself, and decodes only codings that it asked for.
            if !matches!(name.as_str(), "host" | "content-length" | "accept-encoding") {
                line.push_str(&format!(" \\\n  -H {}", quoted(&format!("{name}: {value}"))));
            }
        }
        if !self.body.is_empty() {
            line.push_str(&format!(" \\\n  --data-binary {}", quoted(&self.body_text())));
        }
        line
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use hyper::body::Bytes;
    use portcullis_core::outbound::Method;

    fn target() -> Target {
        Target::parse(b"https://api.example.com/v1?q=1", 8192).unwrap()
    }

    fn hop(key: &str) -> Hop {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("idempotency-key", key.parse().unwrap());
        Hop { method: Method::Post, headers, body: Bytes::from_static(b"{\"a\":\"it's\"}"), credential: true }
    }

    #[test]
    fn a_request_is_shown_with_names_for_secrets_and_as_curl() {
        let mut injection = Injection::header(
            http::header::AUTHORIZATION,
            Template::parse("Bearer {{cred.api_key}}").unwrap(),
        );
        injection.query.push(("key".to_owned(), Template::parse("{{cred.k}}").unwrap()));
        injection.body.push((vec!["token".to_owned()], Template::parse("{{cred.t}}").unwrap()));
        let shown = show(&target(), &hop("1"), &injection, &Map::new(), String::new()).unwrap();
        assert_eq!(shown.url, "https://api.example.com/v1?q=1&key=<credential k>");
        assert!(shown.headers.contains(&("authorization".into(), "Bearer <credential api_key>".into())));
        assert_eq!(shown.body_text(), r#"{"a":"it's","token":"<credential t>"}"#);
        let curl = shown.curl();
        assert!(
            curl.starts_with("curl -X POST 'https://api.example.com/v1?q=1&key=<credential k>'"),
            "{curl}"
        );
        assert!(curl.contains(r#"--data-binary '{"a":"it'\''s","token":"<credential t>"}'"#), "{curl}");
    }

    #[test]
    fn a_sensitive_input_is_shown_by_its_name_in_every_form() {
        let mut shown = DryRun {
            method: "POST".to_owned(),
            url: "https://api.example.com/a%40b.c?q=a%40b.c".to_owned(),
            headers: vec![("x-mail".to_owned(), "a@b.c".to_owned())],
            body: br#"{"mail":"a@b.c","note":"to a@b.c"}"#.to_vec(),
            hash: String::new(),
        };
        shown.hide("mail", "a@b.c");
        shown.hide("none", "");
        assert_eq!(shown.url, "https://api.example.com/<input mail>?q=<input mail>");
        assert_eq!(shown.headers[0].1, "<input mail>");
        assert_eq!(shown.body_text(), r#"{"mail":"<input mail>","note":"to <input mail>"}"#);
    }

    #[test]
    fn the_hash_is_of_the_bytes_that_are_documented() {
        let mut hop = hop("key-1");
        for (name, value) in [("x-a-b", "2"), ("x-a", "1"), ("x-a", "0"), ("x-key", "run-7key-1run-7")] {
            hop.headers.append(name, value.parse().unwrap());
        }
        let text = "POST https://api.example.com/v1?q=1\ncontent-type: application/json\nidempotency-key: \n\
                    x-a-b: 2\nx-a: 0\nx-a: 1\nx-key: \n\n{\"a\":\"it's\"}";
        let varying = ["key-1".to_owned(), String::new(), "run-7".to_owned()];
        let digest = digest(&SHA256, text.as_bytes());
        assert_eq!(hash(&target(), &hop, &varying), hex::encode(digest.as_ref()));
    }

    proptest::proptest! {
        #[test]
        fn a_short_text_is_searched_as_a_long_one_is(text in "[ab]{0,60}", part in "[ab]{0,4}") {
            let expected: Vec<usize> = match part.is_empty() {
                true => Vec::new(),
                false => memmem::find_iter(text.as_bytes(), &part).collect(),
            };
            proptest::prop_assert_eq!(places(text.as_bytes(), part.as_bytes()), expected);
        }
    }

    #[test]
    fn the_hash_is_of_the_request_and_not_of_the_run() {
        let hash = |key: &str| hash(&target(), &hop(key), &[key.to_owned()]);
        assert_eq!(hash("key-1"), hash("key-2"));
        let other = Hop { body: Bytes::from_static(b"{}"), ..hop("key-1") };
        assert_ne!(hash("key-1"), super::hash(&target(), &other, &["key-1".to_owned()]));
    }
}
