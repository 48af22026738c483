//! How a credential becomes part of a request: the plan, and its execution.
//!
//! The plan is made from a checked definition and holds no secret. It is executed by the gate after
//! the TLS handshake, on fields opened for that one request. This is one of the few places where a
//! secret's text is read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use portcullis_action::escape;
use portcullis_action::template::{Part, Scope, Template, scalar_text};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::secret::SecretFields;

/// Where the credential of a connector goes.
#[derive(Debug, Clone)]
pub enum Injection {
    /// Nowhere.
    None,
    /// A header whose value is a template over `cred.*`.
    Header {
        /// Header name.
        name: HeaderName,
        /// Value.
        value: Template,
    },
    /// A query pair whose value is a template over `cred.*`.
    Query {
        /// Name, not yet encoded.
        name: String,
        /// Value.
        value: Template,
    },
    /// HTTP Basic (RFC 7617).
    Basic {
        /// User name; a colon in its value is refused.
        username: Template,
        /// Password; may be empty.
        password: Template,
    },
}

/// Why a credential cannot be injected. Names the field, never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InjectionError {
    /// The credential has no such field.
    #[error("credential field {0} is not set")]
    Missing(String),
    /// A character that cannot stand in a header.
    #[error("the credential has a character that cannot stand in a header")]
    Character,
    /// `:` in a Basic user name.
    #[error("the user name has a colon")]
    Colon,
}

/// What injection adds, and what must never come back.
#[derive(Default)]
pub struct Injected {
    /// Headers to set, marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `name=value`, encoded, to append to the query.
    pub query: Option<Zeroizing<String>>,
    /// Texts that must not reach a guest: every secret field and every derived form.
    pub secrets: Vec<Zeroizing<String>>,
}

impl Injection {
    /// Names of the headers that injection sets, lower case.
    #[must_use]
    pub fn header_names(&self) -> Vec<String> {
        match self {
            Self::None | Self::Query { .. } => Vec::new(),
            Self::Header { name, .. } => vec![name.as_str().to_owned()],
            Self::Basic { .. } => vec![http::header::AUTHORIZATION.as_str().to_owned()],
        }
    }

    /// Whether a query already has the pair that injection would add, under any encoding and case: an
    /// upstream may read the first of two.
    #[must_use]
    pub fn query_is_taken(&self, query: Option<&str>) -> bool {
        let (Self::Query { name, .. }, Some(query)) = (self, query) else { return false };
        url::form_urlencoded::parse(query.as_bytes()).any(|(given, _)| given.eq_ignore_ascii_case(name))
    }

    /// Names of the fields that injection cannot do without.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        let templates = match self {
            Self::None => [None, None],
            Self::Header { value, .. } | Self::Query { value, .. } => [Some(value), None],
            Self::Basic { username, password } => [Some(username), Some(password)],
        };
        templates.into_iter().flatten().flat_map(Template::variables).map(|variable| variable.name.as_str())
    }

    /// Whether a credential is needed at all.
    #[must_use]
    pub const fn needs_credential(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Executes the plan on opened fields.
    ///
    /// # Errors
    /// [`InjectionError`] naming the field.
    pub fn apply(
        &self,
        fields: &SecretFields,
        config: &Map<String, Value>,
    ) -> Result<Injected, InjectionError> {
        let mut injected = Injected::default();
        for (_, value) in fields.iter() {
            injected.secrets.push(Zeroizing::new(value.expose().to_owned()));
        }
        match self {
            Self::None => {}
            Self::Header { name, value } => {
                let text = render(value, fields, config)?;
                injected.headers.push((name.clone(), header_value(&text)?));
                injected.secrets.push(text);
            }
            Self::Query { name, value } => {
                let text = render(value, fields, config)?;
                let mut pair = Zeroizing::new(String::with_capacity(name.len() + text.len() * 3 + 1));
                escape::percent_encode(name, &mut pair);
                pair.push('=');
                escape::percent_encode(&text, &mut pair);
                injected.query = Some(pair);
                injected.secrets.push(text);
            }
            Self::Basic { username, password } => {
                let username = render(username, fields, config)?;
                if username.contains(':') {
                    return Err(InjectionError::Colon);
                }
                let password = render(password, fields, config)?;
                let pair = Zeroizing::new(format!("{}:{}", username.as_str(), password.as_str()));
                let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
                let text = Zeroizing::new(format!("Basic {}", encoded.as_str()));
                injected.headers.push((http::header::AUTHORIZATION, header_value(&text)?));
                injected.secrets.extend([pair, encoded]);
            }
        }
        Ok(injected)
    }
}

/// Secrets are printable ASCII in a header (RFC 9110 section 5.5 without obs-text): anything else is
/// more likely a pasted mistake than a key.
fn header_value(text: &str) -> Result<HeaderValue, InjectionError> {
    if !text.bytes().all(|b| (0x20..=0x7e).contains(&b)) {
        return Err(InjectionError::Character);
    }
    let mut value = HeaderValue::from_str(text).map_err(|_| InjectionError::Character)?;
    value.set_sensitive(true);
    Ok(value)
}

fn render(
    template: &Template,
    fields: &SecretFields,
    config: &Map<String, Value>,
) -> Result<Zeroizing<String>, InjectionError> {
    let mut out = Zeroizing::new(String::with_capacity(128));
    for part in &template.parts {
        match part {
            Part::Literal(text) => out.push_str(text),
            Part::Variable(variable) if variable.scope == Scope::Cred => match fields.get(&variable.name) {
                Some(value) => out.push_str(value.expose()),
                None => {
                    let text = config.get(&variable.name).and_then(scalar_text);
                    out.push_str(&text.ok_or_else(|| InjectionError::Missing(variable.name.clone()))?);
                }
            },
            Part::Variable(variable) => {
                let text = config.get(&variable.name).and_then(scalar_text);
                out.push_str(&text.ok_or_else(|| InjectionError::Missing(variable.name.clone()))?);
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretValue;

    fn fields(pairs: &[(&str, &str)]) -> SecretFields {
        SecretFields::new(
            pairs.iter().map(|(n, v)| ((*n).to_owned(), SecretValue::new((*v).to_owned()))).collect(),
        )
    }

    fn header(value: &str) -> Injection {
        Injection::Header {
            name: HeaderName::from_static("x-api-key"),
            value: Template::parse(value).unwrap(),
        }
    }

    #[test]
    fn a_header_carries_the_rendered_value_marked_sensitive() {
        let injected =
            header("Bearer {{cred.api_key}}").apply(&fields(&[("api_key", "sk_1")]), &Map::new()).unwrap();
        let (name, value) = &injected.headers[0];
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-api-key", "Bearer sk_1"));
        assert!(value.is_sensitive());
    }

    #[test]
    fn a_secret_cannot_break_its_header() {
        for bad in ["a\r\nx: 1", "a\nb", "a\0", "é"] {
            let error = header("{{cred.k}}").apply(&fields(&[("k", bad)]), &Map::new()).err().unwrap();
            assert_eq!(error, InjectionError::Character, "{bad:?}");
            assert!(!error.to_string().contains(bad));
        }
        assert!(header("{{cred.k}}").apply(&fields(&[("k", "a b~")]), &Map::new()).is_ok());
    }

    #[test]
    fn basic_is_rfc_7617_with_an_empty_password_legal_and_a_colon_refused() {
        let basic = |user: &str| Injection::Basic {
            username: Template::parse(user).unwrap(),
            password: Template::parse("{{cred.p}}").unwrap(),
        };
        let injected = basic("Aladdin").apply(&fields(&[("p", "open sesame")]), &Map::new()).unwrap();
        assert_eq!(injected.headers[0].1.to_str().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(injected.secrets.iter().any(|s| s.as_str() == "open sesame"));
        assert!(injected.secrets.iter().any(|s| s.as_str() == "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert!(basic("u").apply(&fields(&[("p", "")]), &Map::new()).is_ok());
        assert_eq!(basic("a:b").apply(&fields(&[("p", "")]), &Map::new()).err(), Some(InjectionError::Colon));
    }

    #[test]
    fn a_query_value_is_encoded() {
        let injection =
            Injection::Query { name: "key".to_owned(), value: Template::parse("{{cred.k}}").unwrap() };
        let injected = injection.apply(&fields(&[("k", "a&b=c d")]), &Map::new()).unwrap();
        assert_eq!(injected.query.unwrap().as_str(), "key=a%26b%3Dc%20d");
    }

    #[test]
    fn a_query_pair_of_the_same_name_is_seen_in_every_spelling() {
        let injection =
            Injection::Query { name: "key".to_owned(), value: Template::parse("{{cred.k}}").unwrap() };
        for taken in ["key=1", "a=1&key=2", "KEY=1", "%6bey=1", "key", "a&k%65y"] {
            assert!(injection.query_is_taken(Some(taken)), "{taken}");
        }
        for free in ["", "a=key", "keys=1", "a=1&monkey=2"] {
            assert!(!injection.query_is_taken(Some(free)), "{free}");
        }
        assert!(!injection.query_is_taken(None));
        assert!(!header("{{cred.k}}").query_is_taken(Some("key=1")));
    }

    #[test]
    fn the_fields_that_injection_needs_are_known_beforehand() {
        let basic = Injection::Basic {
            username: Template::parse("{{cred.email}}/token").unwrap(),
            password: Template::parse("{{cred.token}}").unwrap(),
        };
        assert_eq!(basic.fields().collect::<Vec<_>>(), ["email", "token"]);
        assert_eq!(Injection::None.fields().count(), 0);
    }

    #[test]
    fn a_missing_field_is_named() {
        let error = header("{{cred.k}}").apply(&fields(&[]), &Map::new()).err();
        assert_eq!(error, Some(InjectionError::Missing("k".to_owned())));
    }
}
