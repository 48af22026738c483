//! Signatures over the finished request: keyed hashes, AWS Signature Version 4, OAuth 1.0; and that the
//! keys of signatures are not sent anywhere.

use http::HeaderName;
use portcullis_action::template::{Scope, Template};

use super::templates::Spot;
use super::{Auth, Reader};
use crate::definition::{AlgDef, HeaderMemberDef};
use crate::injection::Injection;
use crate::reserved::is_same;
use crate::signing::{HmacPlan, OAuth1Plan, SigV4Plan, SignedPart, Signing};
use crate::violation::{Violation, Violations};

const SCOPES: [Scope; 2] = [Scope::Cred, Scope::Config];

fn signed(signing: Signing) -> Injection {
    Injection { signing: Some(signing), ..Injection::default() }
}

impl Reader<'_> {
    pub(super) fn hmac(&mut self) -> Option<Injection> {
        let alg = match self.auth.alg {
            None => AlgDef::Sha256,
            Some(alg @ (AlgDef::Sha1 | AlgDef::Sha256 | AlgDef::Sha512)) => alg,
            Some(_) => return self.refuse("/alg", "not_in_list", "alg of hmac is sha1, sha256 or sha512"),
        };
        let Some(HeaderMemberDef::Name(header)) = self.auth.header.clone() else {
            return self.refuse("/header", "auth_incomplete", "hmac needs auth.header, a header's name");
        };
        let header = self.header_name(&header, "/header")?;
        let key_field = self.auth.key_field.clone();
        let key_field = match key_field.or_else(|| self.first_secret()) {
            Some(name) if self.is_secret(&name) => name,
            Some(name) => {
                let message = format!("there is no secret field {name:?}");
                return self.refuse("/key_field", "unknown_reference", message);
            }
            None => {
                let message = "hmac needs a secret field in auth_schema.fields";
                self.errors.push(Violation::new("/auth_schema/fields", "auth_incomplete", message));
                return None;
            }
        };
        let format = self.auth.format.clone();
        let scopes = [Scope::Cred, Scope::Config, Scope::Sign];
        let format = self.optional(format.as_ref(), |r, text| {
            let template = r.secret_template(text, "/format", &scopes)?;
            r.fixed(&template, "/format", Spot::Header)?;
            Some(template)
        })?;
        let mut taken = vec![header.clone()];
        let timestamp_header =
            self.own_header(self.auth.timestamp_header.clone(), "/timestamp_header", &mut taken)?;
        let nonce_header = self.own_header(self.auth.nonce_header.clone(), "/nonce_header", &mut taken)?;
        let parts = self.signed_parts(&header)?;
        let shows_signature =
            |t: &Template| t.variables().any(|v| v.scope == Scope::Sign && v.name == "signature");
        if format.as_ref().is_some_and(|format| !shows_signature(format)) {
            return self.refuse("/format", "auth_incomplete", "format needs {{sign.signature}}");
        }
        Some(signed(Signing::Hmac(Box::new(HmacPlan {
            alg,
            key_field,
            parts,
            encoding: self.auth.encoding.unwrap_or_default(),
            header,
            format,
            timestamp_header,
            timestamp_format: self.auth.timestamp_format.unwrap_or_default(),
            nonce_header,
        }))))
    }

    /// A header that the signer sets, different from its other headers.
    fn own_header(
        &mut self,
        name: Option<String>,
        member: &str,
        taken: &mut Vec<HeaderName>,
    ) -> Option<Option<HeaderName>> {
        let Some(text) = name else { return Some(None) };
        let name = self.header_name(&text, member)?;
        if taken.iter().any(|other| is_same(other.as_str(), name.as_str())) {
            let message = format!("{text:?} is used for another part of the signature");
            return self.refuse(member, "auth_duplicate", message);
        }
        taken.push(name.clone());
        Some(Some(name))
    }

    fn signed_parts(&mut self, signature: &HeaderName) -> Option<Vec<SignedPart>> {
        if self.auth.string_to_sign.is_empty() {
            let message = "hmac needs auth.string_to_sign, such as [\"timestamp\", \"'.'\", \"body\"]";
            return self.refuse("/string_to_sign", "auth_incomplete", message);
        }
        let mut parts = Vec::new();
        for (index, text) in self.auth.string_to_sign.clone().iter().enumerate() {
            let member = format!("/string_to_sign/{index}");
            let Some(part) = signed_part(text) else {
                let message = format!(
                    "{text:?} is not method, path, query, path_and_query, body, body_sha256, timestamp, \
                     nonce, header:<name> or 'text'"
                );
                return self.refuse(&member, "not_in_list", message);
            };
            if part == SignedPart::Header(signature.clone()) {
                return self.refuse(&member, "unknown_reference", "a signature cannot cover its own header");
            }
            parts.push(part);
        }
        let sent = |part, header: &Option<String>, format: &str| {
            !parts.contains(&part)
                || header.is_some()
                || self.auth.format.as_ref().is_some_and(|text| text.contains(format))
        };
        let unsent = [
            (SignedPart::Timestamp, &self.auth.timestamp_header, "sign.timestamp", "/timestamp_header"),
            (SignedPart::Nonce, &self.auth.nonce_header, "sign.nonce", "/nonce_header"),
        ]
        .into_iter()
        .find(|(part, header, format, _)| !sent(part.clone(), header, format));
        if let Some((.., member)) = unsent {
            let message = "is signed and never sent, so the upstream could not check it; name a header, or use it in format";
            return self.refuse(member, "auth_incomplete", message);
        }
        Some(parts)
    }

    fn first_secret(&self) -> Option<String> {
        self.fields.iter().find(|f| f.secret).map(|f| f.name.clone())
    }

    pub(super) fn sigv4(&mut self) -> Option<Injection> {
        let Some(service) = self.auth.service.clone() else {
            return self.refuse("/service", "auth_incomplete", "aws_sigv4 needs auth.service, such as s3");
        };
        let Some(region) = self.auth.region.clone() else {
            let message = "aws_sigv4 needs auth.region, such as {{config.region}}";
            return self.refuse("/region", "auth_incomplete", message);
        };
        let plan = SigV4Plan {
            service: self.secret_template(&service, "/service", &[Scope::Config])?,
            region: self.secret_template(&region, "/region", &[Scope::Config])?,
            access_key: self.named(self.auth.access_key.clone(), "access_key")?,
            secret_key: self.named(self.auth.secret_key.clone(), "secret_key")?,
            session_token: {
                let token = self.auth.session_token.clone();
                self.optional(token.as_ref(), |r, text| r.secret_template(text, "/session_token", &SCOPES))?
            },
            unsigned_payload: self.auth.unsigned_payload,
            double_encode_path: self.auth.double_encode_path,
        };
        self.varies(&[&plan.secret_key], "/secret_key")?;
        Some(signed(Signing::SigV4(Box::new(plan))))
    }

    pub(super) fn oauth1(&mut self) -> Option<Injection> {
        let realm = self.auth.realm.clone();
        let plan = OAuth1Plan {
            method: self.auth.signature_method.unwrap_or_default(),
            consumer_key: self.named(self.auth.consumer_key.clone(), "consumer_key")?,
            consumer_secret: self.named(self.auth.consumer_secret.clone(), "consumer_secret")?,
            token: self.named(self.auth.token.clone(), "token")?,
            token_secret: self.named(self.auth.token_secret.clone(), "token_secret")?,
            realm: self.optional(realm.as_ref(), |r, text| r.secret_template(text, "/realm", &SCOPES))?,
        };
        self.varies(&[&plan.consumer_secret], "/consumer_secret")?;
        self.varies(&[&plan.token_secret], "/token_secret")?;
        Some(signed(Signing::OAuth1(Box::new(plan))))
    }
}

fn signed_part(text: &str) -> Option<SignedPart> {
    Some(match text {
        "method" => SignedPart::Method,
        "path" => SignedPart::Path,
        "query" => SignedPart::Query,
        "path_and_query" => SignedPart::PathAndQuery,
        "body" => SignedPart::Body,
        "body_sha256" => SignedPart::BodySha256,
        "timestamp" => SignedPart::Timestamp,
        "nonce" => SignedPart::Nonce,
        _ => match text.strip_prefix("header:") {
            Some(name) => SignedPart::Header(HeaderName::from_bytes(name.as_bytes()).ok()?),
            None => {
                let inner = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''))?;
                SignedPart::Literal(inner.replace("\\n", "\n"))
            }
        },
    })
}

/// Fields used as signing keys, with the member that names them; and the templates whose text is sent.
fn keys_and_shown(injection: &Injection) -> (Vec<(&str, &'static str)>, Vec<&Template>) {
    let mut keys: Vec<(&str, &'static str)> = Vec::new();
    let mut hidden: Vec<(&Template, &'static str)> = Vec::new();
    keys.extend(injection.jwt.iter().map(|jwt| (jwt.key_field.as_str(), "key_field")));
    match &injection.signing {
        Some(Signing::Hmac(plan)) => keys.push((&plan.key_field, "key_field")),
        Some(Signing::SigV4(plan)) => hidden.push((&plan.secret_key, "secret_key")),
        Some(Signing::OAuth1(plan)) => {
            hidden.extend([(&plan.consumer_secret, "consumer_secret"), (&plan.token_secret, "token_secret")]);
        }
        None => {}
    }
    for (template, member) in &hidden {
        keys.extend(template.variables().map(|variable| (variable.name.as_str(), *member)));
    }
    let is_hidden = |template: &&Template| hidden.iter().any(|(other, _)| std::ptr::eq(*other, *template));
    (keys, injection.templates().filter(|template| !is_hidden(template)).collect())
}

/// Refuses to send a field that is a signing key: a signature proves knowledge of a key that is never sent.
pub(super) fn check_keys(auth: &Auth, errors: &mut Violations) {
    let plan = auth.token.as_ref();
    let steps = plan.into_iter().flat_map(|plan| {
        let consent = plan.consent.iter().map(|consent| &consent.exchange);
        plan.obtain.iter().chain(&plan.renew).chain(&plan.revoke).chain(consent)
    });
    let injections = steps.map(|step| &step.injection).chain([auth.injection.as_ref()]);
    let (mut keys, mut shown) = (Vec::new(), Vec::new());
    for injection in injections {
        let (own_keys, own_shown) = keys_and_shown(injection);
        keys.extend(own_keys);
        shown.extend(own_shown);
    }
    for (name, member) in keys {
        if shown.iter().flat_map(|template| template.variables()).any(|variable| variable.name == name) {
            let message = format!("{name:?} is a signing key, and another member of auth would send it");
            errors.push(Violation::new(format!("/auth/{member}"), "signing_key_sent", message));
        }
    }
}
