//! JWTs that the host signs (RFC 7519): alone in a header, or as the assertion of a token request.

use portcullis_action::template::{Scope, Template};
use serde_json::{Map, Value};

use super::Reader;
use crate::definition::{AlgDef, HeaderMemberDef};
use crate::injection::Injection;
use crate::reserved::{is_same, reserved};
use crate::signing::JwtPlan;
use crate::violation::step;

/// Default lifetime of a JWT, seconds. GitHub refuses more than 600.
const TTL_S: u32 = 300;
/// Claims that the signer sets: a fixed time would be wrong soon after it was written.
const MADE_CLAIMS: &[&str] = &["iat", "exp"];
/// Header members that the signer sets, or that change what is signed (RFC 7797).
const MADE_MEMBERS: &[&str] = &["alg", "kid", "crit", "b64"];

/// A claim added where the definition does not write it, and the member its value comes from.
pub(super) type DefaultClaim<'a> = (&'a str, String, &'a str);

impl Reader<'_> {
    /// A JWT in a header.
    pub(super) fn jwt(&mut self) -> Option<Injection> {
        let jwt = self.jwt_plan(&[])?;
        let name = self.auth.name.clone().unwrap_or_else(|| "Authorization".to_owned());
        let name = self.header_name(&name, "/name")?;
        let prefix = self.prefix(if name == http::header::AUTHORIZATION { "Bearer " } else { "" })?;
        let value = self.secret_template(&format!("{prefix}{{{{jwt.token}}}}"), "/prefix", &[Scope::Jwt])?;
        self.fixed(&value, "/prefix", super::templates::Spot::Header)?;
        Some(Injection { jwt: Some(jwt), ..Injection::header(name, value) })
    }

    /// The JWT that `alg`, `key_field`, `kid` and `claims` describe.
    pub(super) fn jwt_plan(&mut self, defaults: &[DefaultClaim<'_>]) -> Option<JwtPlan> {
        let Some(alg) = self.auth.alg else {
            return self.refuse("/alg", "auth_incomplete", "a JWT needs auth.alg, such as RS256");
        };
        let Some(key_field) = self.auth.key_field.clone() else {
            let message = "a JWT needs auth.key_field, the secret field that holds the key";
            return self.refuse("/key_field", "auth_incomplete", message);
        };
        if matches!(alg, AlgDef::Sha1 | AlgDef::Sha256 | AlgDef::Sha512) {
            return self.refuse("/alg", "not_in_list", "a JWT's alg is one of RFC 7518, such as RS256");
        }
        if !self.is_secret(&key_field) {
            let message = format!("there is no secret field {key_field:?}");
            return self.refuse("/key_field", "unknown_reference", message);
        }
        let scopes = [Scope::Cred, Scope::Config];
        let kid = self.auth.kid.clone();
        let kid = self.optional(kid.as_ref(), |r, text| r.secret_template(text, "/kid", &scopes))?;
        let mut claims = Map::new();
        let mut claim_templates: Vec<(String, Template)> = Vec::new();
        for (name, text, member) in defaults {
            if !self.auth.claims.contains_key(*name) {
                claim_templates.push(((*name).to_owned(), self.secret_template(text, member, &scopes)?));
            }
        }
        for (name, value) in self.auth.claims.clone() {
            let member = format!("/claims/{}", step(&name));
            if let Some(made) = reserved(&name, MADE_CLAIMS) {
                let message =
                    format!("{made} is made when the JWT is signed; auth.ttl_s says how long it is good");
                return self.refuse(&member, "claim_reserved", message);
            }
            let taken = claims.keys().chain(claim_templates.iter().map(|(other, _)| other));
            if let Some(other) = taken.into_iter().find(|other| is_same(other, &name)) {
                let message =
                    format!("{name:?} may be read as {other:?}, which is a claim already; write it once");
                return self.refuse(&member, "claim_reserved", message);
            }
            match value {
                Value::String(text) => {
                    claim_templates.push((name, self.secret_template(&text, &member, &scopes)?));
                }
                other => {
                    self.no_templates(&other, &member)?;
                    claims.insert(name, other);
                }
            }
        }
        let header = self.jose_header()?;
        let ttl_s = self.auth.ttl_s.unwrap_or(TTL_S);
        Some(JwtPlan { alg, key_field, kid, header, claims, claim_templates, ttl_s })
    }

    /// `auth.header` of a JWT.
    fn jose_header(&mut self) -> Option<Map<String, Value>> {
        let members = match self.auth.header.clone() {
            None => return Some(Map::new()),
            Some(HeaderMemberDef::Members(members)) => members,
            Some(HeaderMemberDef::Name(_)) => {
                return self.refuse("/header", "wrong_type", "auth.header of a JWT is an object of members");
            }
        };
        for (name, value) in &members {
            let member = format!("/header/{}", step(name));
            if let Some(made) = reserved(name, MADE_MEMBERS) {
                let message = format!("{made} is the signer's; write auth.alg and auth.kid");
                return self.refuse(&member, "claim_reserved", message);
            }
            self.no_templates(value, &member)?;
        }
        Some(members)
    }

    /// Refuses templates in positions where nothing renders them.
    pub(super) fn no_templates(&mut self, value: &Value, member: &str) -> Option<()> {
        match value {
            Value::String(text) if text.contains("{{") => {
                let message = "is no template: only texts directly below claims are";
                self.refuse(member, "template_invalid", message)
            }
            Value::Array(items) => items
                .iter()
                .enumerate()
                .try_for_each(|(i, item)| self.no_templates(item, &format!("{member}/{i}"))),
            Value::Object(map) => map
                .iter()
                .try_for_each(|(name, item)| self.no_templates(item, &format!("{member}/{}", step(name)))),
            _ => Some(()),
        }
    }
}
