//! How a credential becomes part of a request: the plan, and its execution on opened fields.
//!
//! The plan is made from a checked definition and contains no secret. The gate executes it after
//! the TLS handshake, on fields opened for that one request. This is one of the few files where a
//! secret's text is read. Signatures are planned in [`crate::signing`] and made by the `auth` crate.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use portcullis_action::budget::{Budget, Exceeded, RENDERED_BYTES};
use portcullis_action::escape;
use portcullis_action::template::{Part, Scope, Template, Variable, scalar_text};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::reserved;
use crate::secret::SecretFields;
use crate::signing::{JwtPlan, Signing};

/// What fills a header.
#[derive(Debug, Clone)]
pub enum HeaderFill {
    /// A template over `cred.*`, `config.*` and `jwt.token`.
    Text(Template),
    /// HTTP Basic (RFC 7617).
    Basic {
        /// User name; a colon in its value is refused.
        username: Template,
        /// Password; may be empty.
        password: Template,
        /// Whether both are form-encoded first, as OAuth wants it for a client (RFC 6749 section 2.3.1).
        encoded: bool,
    },
}

/// Where the credential of a connector goes. Any list may be empty; if all are, there is no credential.
#[derive(Debug, Clone, Default)]
pub struct Injection {
    /// Headers to set.
    pub headers: Vec<(HeaderName, HeaderFill)>,
    /// Query pairs to append; names not yet encoded.
    pub query: Vec<(String, Template)>,
    /// Cookies (RFC 6265) of the one `Cookie` header.
    pub cookies: Vec<(String, Template)>,
    /// Members of the JSON or form body, each with the steps of its position.
    pub body: Vec<(Vec<String>, Template)>,
    /// The JWT that `{{jwt.token}}` stands for.
    pub jwt: Option<JwtPlan>,
    /// Signature over the finished request.
    pub signing: Option<Signing>,
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
    /// A blank at an end, which no header keeps.
    #[error("the credential begins or ends with a blank, which a header does not keep")]
    Blank,
    /// A character that cannot stand in a cookie.
    #[error("the credential has a character that cannot stand in a cookie")]
    Cookie,
    /// `:` in a Basic user name.
    #[error("the user name has a colon")]
    Colon,
    /// The templates of the credential make too much.
    #[error("the credential's templates {0}")]
    TooLarge(#[from] Exceeded),
    /// A signature could not be made; the text names the field.
    #[error("{0}")]
    Signature(String),
}

/// What injection adds, and the texts that a response must not contain.
#[derive(Default)]
pub struct Injected {
    /// Headers to set, marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Encoded pairs, joined by `&`, to append to the query.
    pub query: Option<Zeroizing<String>>,
    pub body: Vec<(Vec<String>, Zeroizing<String>)>,
    /// Texts that must not reach a guest: every secret field and every derived form.
    pub secrets: Vec<Zeroizing<String>>,
}

impl Injection {
    /// One header filled by a template.
    #[must_use]
    pub fn header(name: HeaderName, value: Template) -> Self {
        Self { headers: vec![(name, HeaderFill::Text(value))], ..Self::default() }
    }

    /// Names of the headers that injection sets, lower case.
    #[must_use]
    pub fn header_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        if !self.cookies.is_empty() {
            names.push(http::header::COOKIE.as_str());
        }
        names.extend(self.signing.iter().flat_map(Signing::header_names));
        names
    }

    /// Whether a query pair of this name is one that injection adds, or may be read as one.
    #[must_use]
    pub fn takes_query(&self, name: &str) -> bool {
        self.query.iter().any(|(own, _)| reserved::takes_place_of(name, own))
    }

    /// Whether a query already has a pair that injection would add, under any encoding and case: an
    /// upstream may read the first of two.
    #[must_use]
    pub fn query_is_taken(&self, query: Option<&str>) -> bool {
        let Some(query) = query.filter(|_| !self.query.is_empty()) else { return false };
        url::form_urlencoded::parse(query.as_bytes()).any(|(given, _)| self.takes_query(&given))
    }

    /// Every template of the plan.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let headers = self.headers.iter().flat_map(|(_, fill)| match fill {
            HeaderFill::Text(value) => [Some(value), None],
            HeaderFill::Basic { username, password, .. } => [Some(username), Some(password)],
        });
        headers
            .flatten()
            .chain(self.query.iter().map(|(_, value)| value))
            .chain(self.cookies.iter().map(|(_, value)| value))
            .chain(self.body.iter().map(|(_, value)| value))
            .chain(self.jwt.iter().flat_map(JwtPlan::templates))
            .chain(self.signing.iter().flat_map(Signing::templates))
    }

    /// Names of the fields that injection requires.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        let keys = self.jwt.iter().map(|jwt| jwt.key_field.as_str());
        let signing = self.signing.iter().filter_map(Signing::key_field);
        // Why not those: a session token is used if there is one, and a password may be empty.
        let mut optional: Vec<&Template> =
            self.signing.iter().filter_map(Signing::optional_template).collect();
        optional.extend(self.headers.iter().filter_map(|(_, fill)| match fill {
            HeaderFill::Basic { password, .. } => Some(password),
            HeaderFill::Text(_) => None,
        }));
        self.templates()
            .filter(move |template| !optional.iter().any(|other| std::ptr::eq(*template, *other)))
            .flat_map(Template::variables)
            .filter(|variable| matches!(variable.scope, Scope::Cred | Scope::Config))
            .map(|variable| variable.name.as_str())
            .chain(keys)
            .chain(signing)
    }

    /// Whether a credential is needed at all.
    #[must_use]
    pub const fn needs_credential(&self) -> bool {
        !(self.headers.is_empty()
            && self.query.is_empty()
            && self.cookies.is_empty()
            && self.body.is_empty()
            && self.signing.is_none())
    }

    /// Executes the plan on opened fields. `jwt` is the token that [`Self::jwt`] describes, signed by
    /// the caller for this request.
    ///
    /// # Errors
    /// [`InjectionError`] naming the field.
    pub fn apply(
        &self,
        fields: &SecretFields,
        config: &Map<String, Value>,
        jwt: Option<Zeroizing<String>>,
    ) -> Result<Injected, InjectionError> {
        let mut injected = Injected::default();
        for (_, value) in fields.iter() {
            injected.secrets.push(Zeroizing::new(value.expose().to_owned()));
        }
        let budget = Budget::rendering(RENDERED_BYTES);
        let texts = Texts { jwt: jwt.as_deref(), ..Texts::new(fields, config).within(&budget) };
        for (name, fill) in &self.headers {
            let value = match fill {
                HeaderFill::Text(value) => texts.render(value)?,
                HeaderFill::Basic { username, password, encoded } => {
                    basic(&texts, (username, password), *encoded, &mut injected.secrets)?
                }
            };
            injected.headers.push((name.clone(), header_value(&value)?));
            injected.secrets.push(value);
        }
        self.apply_query(&texts, &mut injected)?;
        self.apply_cookies(&texts, &mut injected)?;
        for (path, template) in &self.body {
            let text = texts.render(template)?;
            injected.secrets.push(text.clone());
            injected.body.push((path.clone(), text));
        }
        injected.secrets.extend(jwt);
        Ok(injected)
    }

    /// Refuses values that can never be sent where the plan puts them, as far as its fields are known already: those
    /// of a token come later.
    ///
    /// # Errors
    /// [`InjectionError`], never for a field that is missing.
    pub fn check_known(
        &self,
        fields: &SecretFields,
        config: &Map<String, Value>,
    ) -> Result<(), InjectionError> {
        let budget = Budget::rendering(RENDERED_BYTES);
        let texts = Texts::new(fields, config).within(&budget);
        for (_, fill) in &self.headers {
            let made = match fill {
                HeaderFill::Text(value) => texts.render(value),
                HeaderFill::Basic { username, password, encoded } => {
                    basic(&texts, (username, password), *encoded, &mut Vec::new())
                }
            };
            if let Some(value) = unless_missing(made)? {
                header_value(&value)?;
            }
        }
        for (_, template) in &self.cookies {
            let made = unless_missing(texts.render(template))?;
            if made.is_some_and(|text| !is_cookie_value(&text)) {
                return Err(InjectionError::Cookie);
            }
        }
        Ok(())
    }

    fn apply_query(&self, texts: &Texts<'_>, injected: &mut Injected) -> Result<(), InjectionError> {
        for (name, template) in &self.query {
            let text = texts.render(template)?;
            let pairs = injected.query.get_or_insert_with(|| {
                Zeroizing::new(String::with_capacity(name.len() + text.len() * 3 + 1))
            });
            escape::append_pair(name, &text, pairs);
            injected.secrets.push(text);
        }
        Ok(())
    }

    fn apply_cookies(&self, texts: &Texts<'_>, injected: &mut Injected) -> Result<(), InjectionError> {
        let mut line = Zeroizing::new(String::new());
        for (name, template) in &self.cookies {
            let text = texts.render(template)?;
            if !is_cookie_value(&text) {
                return Err(InjectionError::Cookie);
            }
            if !line.is_empty() {
                line.push_str("; ");
            }
            line.push_str(name);
            line.push('=');
            line.push_str(&text);
            injected.secrets.push(text);
        }
        if !line.is_empty() {
            injected.headers.push((http::header::COOKIE, header_value(&line)?));
        }
        Ok(())
    }
}

/// Nothing for a field that is not there yet.
fn unless_missing<T>(made: Result<T, InjectionError>) -> Result<Option<T>, InjectionError> {
    match made {
        Err(InjectionError::Missing(_)) => Ok(None),
        made => made.map(Some),
    }
}

/// RFC 6265 section 4.1.1: octets, which may stand in quotation marks. Those are part of the value.
fn is_cookie_value(text: &str) -> bool {
    let octets = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    octets.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e))
}

fn basic(
    texts: &Texts<'_>,
    (username, password): (&Template, &Template),
    encoded: bool,
    secrets: &mut Vec<Zeroizing<String>>,
) -> Result<Zeroizing<String>, InjectionError> {
    let (mut username, mut password) = (texts.render(username)?, texts.render_or_empty(password)?);
    if encoded {
        (username, password) = (form_encoded(&username), form_encoded(&password));
    }
    if username.contains(':') {
        return Err(InjectionError::Colon);
    }
    let pair = Zeroizing::new(format!("{}:{}", username.as_str(), password.as_str()));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    let text = Zeroizing::new(format!("Basic {}", encoded.as_str()));
    secrets.extend([pair, encoded]);
    Ok(text)
}

/// As a value of `application/x-www-form-urlencoded` (RFC 6749 appendix B).
fn form_encoded(text: &str) -> Zeroizing<String> {
    // Why with room for all: growing would leave a copy of a secret in freed memory.
    let mut out = Zeroizing::new(String::with_capacity(text.len() * 3));
    for piece in url::form_urlencoded::byte_serialize(text.as_bytes()) {
        out.push_str(piece);
    }
    out
}

/// Secrets are printable ASCII in a header (RFC 9110 section 5.5 without obs-text): anything else is
/// more likely a copy error than a key.
fn header_value(text: &str) -> Result<HeaderValue, InjectionError> {
    if !text.bytes().all(|b| (0x20..=0x7e).contains(&b)) {
        return Err(InjectionError::Character);
    }
    // Why: a receiver takes it away (RFC 9110 section 5.5), and what is left is another secret.
    if text.starts_with(' ') || text.ends_with(' ') {
        return Err(InjectionError::Blank);
    }
    let mut value = HeaderValue::from_str(text).map_err(|_| InjectionError::Character)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Where the templates of an injection take their texts from.
#[derive(Clone, Copy)]
pub struct Texts<'a> {
    /// Opened secrets.
    pub fields: &'a SecretFields,
    /// Non-secret values of the connection.
    pub config: &'a Map<String, Value>,
    /// The text for `{{jwt.token}}`.
    pub jwt: Option<&'a String>,
    /// The texts for `{{sign.…}}`.
    pub sign: Option<SignTexts<'a>>,
    /// What all templates of one request may make together.
    pub budget: Option<&'a Budget>,
}

/// A signature with its time and nonce.
#[derive(Clone, Copy)]
pub struct SignTexts<'a> {
    /// The signature, encoded.
    pub signature: &'a str,
    /// The time, formatted.
    pub timestamp: &'a str,
    pub nonce: &'a str,
}

impl<'a> Texts<'a> {
    /// Texts of a credential and its connection.
    #[must_use]
    pub const fn new(fields: &'a SecretFields, config: &'a Map<String, Value>) -> Self {
        Self { fields, config, jwt: None, sign: None, budget: None }
    }

    /// The same texts, drawing from a budget.
    #[must_use]
    pub const fn within(mut self, budget: &'a Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    fn put(&self, text: &str, out: &mut String) -> Result<(), InjectionError> {
        self.budget.map_or(Ok(()), |budget| budget.make(text.len()))?;
        out.push_str(text);
        Ok(())
    }

    /// Renders a template. Substituted text is never scanned again.
    ///
    /// # Errors
    /// [`InjectionError::Missing`] naming the field.
    pub fn render(&self, template: &Template) -> Result<Zeroizing<String>, InjectionError> {
        let mut out = Zeroizing::new(String::with_capacity(128));
        for part in &template.parts {
            match part {
                Part::Literal(text) => self.put(text, &mut out)?,
                Part::Variable(variable) => self.push(variable, &mut out)?,
            }
        }
        Ok(out)
    }

    /// As [`Self::render`], where a field without a value is an empty text: a password may be empty
    /// (RFC 7617), and a form keeps no empty value.
    fn render_or_empty(&self, template: &Template) -> Result<Zeroizing<String>, InjectionError> {
        let mut out = Zeroizing::new(String::with_capacity(128));
        for part in &template.parts {
            match part {
                Part::Literal(text) => self.put(text, &mut out)?,
                Part::Variable(variable) => match self.push(variable, &mut out) {
                    Err(InjectionError::Missing(_)) => {}
                    other => other?,
                },
            }
        }
        Ok(out)
    }

    fn push(&self, variable: &Variable, out: &mut String) -> Result<(), InjectionError> {
        let missing = || InjectionError::Missing(variable.name.clone());
        match variable.scope {
            Scope::Jwt => self.put(self.jwt.ok_or_else(missing)?, out),
            Scope::Sign => {
                let sign = self.sign.ok_or_else(missing)?;
                let text = match variable.name.as_str() {
                    "timestamp" => sign.timestamp,
                    "nonce" => sign.nonce,
                    _ => sign.signature,
                };
                self.put(text, out)
            }
            Scope::Cred if self.fields.get(&variable.name).is_some() => {
                self.put(self.fields.get(&variable.name).ok_or_else(missing)?.expose(), out)
            }
            _ => {
                let text = self.config.get(&variable.name).and_then(scalar_text);
                self.put(&text.ok_or_else(missing)?, out)
            }
        }
    }
}

#[cfg(test)]
mod tests;
