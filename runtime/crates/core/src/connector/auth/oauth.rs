//! OAuth 2.0 (RFC 6749): the requests of a token endpoint, from the members of `auth`.

use std::collections::BTreeMap;

use portcullis_action::template::{Scope, Template};
use portcullis_action::{Method, UrlTemplate};

use super::Reader;
use super::jwt::DefaultClaim;
use super::templates::Spot;
use crate::connector::place::{check_pointer, names_secret, overlap, steps};
use crate::definition::{BodyFormatDef, ClientAuthDef, ExpiresUnitDef, PkceDef, ScopeDef};
use crate::host_pattern::same_owner;
use crate::injection::{HeaderFill, Injection};
use crate::reserved::{is_same, reserved};
use crate::token_plan::{Capture, ConsentPlan, RefreshOn, StepBody, TokenPlan, TokenStep};
use crate::violation::{Violation, step};

/// Default token lifetime where the answer has none, seconds; the most common one.
const TTL_S: u32 = 3600;
/// How long before its expiry a token is renewed, seconds: longer than a slow call plus clock drift.
const REFRESH_SKEW_S: u32 = 60;
/// `client_assertion_type` (RFC 7523 section 2.2).
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// `grant_type` of a JWT bearer (RFC 7523 section 2.1).
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Pairs of an authorization URL that the protocol defines (RFC 6749 section 4.1.1, RFC 7636), in the form of
/// [`crate::reserved::folded`].
const CONSENT_PAIRS: &[&str] = &[
    "response_type",
    "client_id",
    "redirect_uri",
    "state",
    "scope",
    "code_challenge",
    "code_challenge_method",
    // RFC 9101: they stand for all of the others.
    "request",
    "request_uri",
];

impl Reader<'_> {
    pub(super) fn client_credentials(&mut self) -> Option<TokenPlan> {
        let mut obtain = self.token_request("client_credentials", &[], self.scope())?;
        if let Some(audience) = self.auth.audience.clone() {
            let audience = self.secret_template(&audience, "/audience", &[Scope::Config])?;
            self.add(&mut obtain, "audience", audience, "/audience")?;
        }
        Some(TokenPlan { obtain: vec![obtain], ..self.token_plan()? })
    }

    pub(super) fn refresh_token(&mut self) -> Option<TokenPlan> {
        let pasted = self.named(self.auth.refresh_token.clone(), "refresh_token")?;
        // Why two: the first renewal reads the pasted token, every later one the token from the server.
        let obtain = self.renewal(pasted)?;
        let renew = self.renewal(Template::parse("{{cred.refresh_token}}").ok()?)?;
        Some(TokenPlan { obtain: vec![obtain], renew: Some(renew), ..self.token_plan()? })
    }

    pub(super) fn authorization_code(&mut self) -> Option<TokenPlan> {
        let Some(url) = self.auth.authorize_url.clone() else {
            let message = "oauth2_authorization_code needs auth.authorize_url";
            return self.refuse("/authorize_url", "auth_incomplete", message);
        };
        // Why not inside allowed_domains: the host sends nothing there; the person's browser goes there.
        let authorize_url = self.config_url(&url, "/authorize_url")?;
        // Why there: a host that is one value is only ever one of a list, wherever it stands.
        if authorize_url.host_variable().is_some()
            && !self.reach.check(&authorize_url, "/auth/authorize_url", self.errors)
        {
            return None;
        }
        for (name, _) in &authorize_url.query {
            // Why a fixed name: a workspace's value could be the name of a reserved pair.
            let Some(name) = name.as_literal() else {
                let message =
                    "has a template for a name in its query; write the name, templates are for values";
                return self.refuse("/authorize_url", "param_reserved", message);
            };
            if let Some(own) = reserved(name, CONSENT_PAIRS) {
                let message = format!(
                    "has {own}, the protocol's own, in its query; it is put there when a person is sent"
                );
                return self.refuse("/authorize_url", "param_reserved", message);
            }
        }
        let params = self.consent_params(&authorize_url)?;
        let issuer = self.issuer()?;
        let pkce = self.auth.pkce.unwrap_or_default() == PkceDef::S256;
        let own = |name: &str| Template::parse(&format!("{{{{cred.{name}}}}}")).ok();
        let mut members = vec![("code", own("code")?), ("redirect_uri", own("redirect_uri")?)];
        if pkce {
            members.push(("code_verifier", own("code_verifier")?));
        }
        let exchange = self.token_request("authorization_code", &members, None)?;
        if issuer.is_none() {
            self.warn_apart(&authorize_url, &exchange.url);
        }
        let renew = self.renewal(own("refresh_token")?)?;
        let consent = ConsentPlan {
            authorize_url,
            params,
            client_id: self.shown_client_id()?,
            scope: self.scope().unwrap_or_default(),
            scope_separator: self.auth.scope_separator.clone().unwrap_or_else(|| " ".to_owned()),
            pkce,
            issuer,
            callback: self.callback()?,
            exchange,
        };
        Some(TokenPlan { consent: Some(consent), renew: Some(renew), ..self.token_plan()? })
    }

    fn consent_params(&mut self, url: &UrlTemplate) -> Option<Vec<(String, Template)>> {
        let mut params: Vec<(String, Template)> = Vec::new();
        let in_url: Vec<&str> = url.query.iter().filter_map(|(name, _)| name.as_literal()).collect();
        for (name, text) in self.auth.authorize_params.clone() {
            let member = format!("/authorize_params/{}", step(&name));
            if let Some(own) = reserved(&name, CONSENT_PAIRS) {
                let message = format!(
                    "{name:?} may be read as {own}, the protocol's own; auth has client_id, scopes and pkce for it"
                );
                return self.refuse(&member, "param_reserved", message);
            }
            let taken = params.iter().map(|(other, _)| other.as_str()).chain(in_url.iter().copied());
            if let Some(other) = taken.into_iter().find(|other| is_same(other, &name)) {
                let message =
                    format!("{name:?} may be read as {other:?}, which is there, too; write it once");
                return self.refuse(&member, "param_reserved", message);
            }
            params.push((name, self.secret_template(&text, &member, &[Scope::Config])?));
        }
        Some(params)
    }

    /// `auth.issuer`: an https URL without query and fragment (RFC 9207 section 2).
    fn issuer(&mut self) -> Option<Option<Template>> {
        let Some(text) = self.auth.issuer.clone() else { return Some(None) };
        let issuer = self.secret_template(&text, "/issuer", &[Scope::Config])?;
        if !text.starts_with("https://") || text.contains(['?', '#', '@']) {
            let message = "is an https URL without query and fragment, such as https://login.example.com";
            return self.refuse("/issuer", "wrong_form", message);
        }
        Some(Some(issuer))
    }

    /// Warns where a code is given by one company and redeemed at another: a code of the first would then be sent
    /// to the second, whatever the callback says.
    fn warn_apart(&mut self, authorize: &UrlTemplate, token: &UrlTemplate) {
        // Why: each of its values is a host that the definition names.
        if [authorize, token].iter().any(|url| url.host_variable().is_some()) {
            return;
        }
        let host = |url: &UrlTemplate| {
            let labels: Vec<&str> = url.host.iter().map(|label| label.literal().unwrap_or("x")).collect();
            labels.join(".")
        };
        let (authorize, token) = (host(authorize), host(token));
        if !same_owner(&authorize, &token) {
            let message = format!(
                "{token} gets the codes that {authorize} gives, and the two are not known to be one company's; check \
                 both, and write auth.issuer if the server names itself in the callback (RFC 9207)"
            );
            self.warnings.push(Violation::new("/auth/token_url", "oauth_endpoints_apart", message));
        }
    }

    /// The client id in the authorization URL, which the person's browser and its history see. It uses
    /// no secret except the field `client_id`, which is secret in forms that do not say otherwise.
    fn shown_client_id(&mut self) -> Option<Template> {
        let client_id = self.named(self.auth.client_id.clone(), "client_id")?;
        let secret = client_id.variables().find(|v| v.name != "client_id" && self.is_secret(&v.name));
        if let Some(secret) = secret {
            let message =
                format!("{secret} is a secret, and the client id is shown in the authorization URL");
            return self.refuse("/client_id", "secret_in_url", message);
        }
        Some(client_id)
    }

    pub(super) fn jwt_bearer(&mut self) -> Option<TokenPlan> {
        if self.auth.client_auth == Some(ClientAuthDef::PrivateKeyJwt) {
            let message = "one JWT goes with a request: the assertion says who the client is";
            return self.refuse("/client_auth", "auth_unused", message);
        }
        let grant = self.auth.grant_type.clone().unwrap_or_else(|| JWT_BEARER.to_owned());
        let assertion = Template::parse("{{jwt.token}}").ok()?;
        let mut obtain = self.token_request(&grant, &[("assertion", assertion)], None)?;
        let mut defaults: Vec<DefaultClaim<'_>> = Vec::new();
        match (self.auth.audience.clone(), self.auth.token_url.clone()) {
            (Some(audience), _) => defaults.push(("aud", audience, "/audience")),
            (None, token_url) => defaults.extend(token_url.map(|url| ("aud", url, "/token_url"))),
        }
        defaults.extend(self.scope().map(|scope| ("scope", scope, "/scopes")));
        obtain.injection.jwt = Some(self.jwt_plan(&defaults)?);
        Some(TokenPlan { obtain: vec![obtain], ..self.token_plan()? })
    }

    fn renewal(&mut self, refresh_token: Template) -> Option<TokenStep> {
        let refresh = self.auth.refresh.clone().unwrap_or_default();
        let mut request = self.token_request("refresh_token", &[("refresh_token", refresh_token)], None)?;
        if let Some(url) = &refresh.url {
            request.url = self.url(url, "/refresh/url")?;
        }
        self.add_headers(&mut request, &refresh.headers, "/refresh/headers")?;
        self.add_members(&mut request, &refresh.extra_params, "/refresh/extra_params")?;
        Some(request)
    }

    /// What all kinds of token have in common.
    pub(super) fn token_plan(&mut self) -> Option<TokenPlan> {
        let on = self.auth.refresh_on.clone().unwrap_or_default();
        let predicate =
            match on.predicate.as_ref().map(|predicate| self.compiler.predicate(predicate)).transpose() {
                Ok(predicate) => predicate,
                Err(e) => {
                    let member = format!("/refresh_on/predicate{}", e.pointer);
                    return self.refuse(&member, "predicate_invalid", e.message);
                }
            };
        let status = if on.status.is_empty() && predicate.is_none() { vec![401] } else { on.status };
        let revoke = match self.auth.revoke_url.clone() {
            None => None,
            Some(url) => {
                let token = Template::parse("{{cred.access_token}}").ok()?;
                // Why the hint: a form with secrets only would be an empty body until they are inserted.
                let hint = [("token_type_hint".to_owned(), "access_token".to_owned())];
                let mut revoke = self.endpoint(&url, "/revoke_url", &hint, &[("token", token)])?;
                revoke.capture.clear();
                revoke.config.clear();
                Some(revoke)
            }
        };
        Some(TokenPlan {
            obtain: Vec::new(),
            renew: None,
            consent: None,
            revoke,
            rotates: self.auth.refresh.as_ref().is_some_and(|refresh| refresh.rotates),
            default_ttl_s: self.auth.default_ttl_s.unwrap_or(TTL_S),
            refresh_skew_s: self.auth.refresh_skew_s.unwrap_or(REFRESH_SKEW_S),
            refresh_on: RefreshOn { status, predicate },
        })
    }

    fn scope(&self) -> Option<String> {
        let names: Vec<&str> = self.auth.scopes.iter().map(ScopeDef::name).collect();
        let separator = self.auth.scope_separator.as_deref().unwrap_or(" ");
        (!names.is_empty()).then(|| names.join(separator))
    }

    /// A request to the token endpoint.
    fn token_request(
        &mut self,
        grant: &str,
        secrets: &[(&str, Template)],
        scope: Option<String>,
    ) -> Option<TokenStep> {
        let Some(url) = self.auth.token_url.clone() else {
            return self.refuse("/token_url", "auth_incomplete", "this auth_type needs auth.token_url");
        };
        let mut fixed = vec![("grant_type".to_owned(), grant.to_owned())];
        fixed.extend(scope.map(|scope| ("scope".to_owned(), scope)));
        let mut request = self.endpoint(&url, "/token_url", &fixed, secrets)?;
        let (extra, headers) = (self.auth.extra_params.clone(), self.auth.headers.clone());
        self.add_headers(&mut request, &headers, "/headers")?;
        self.add_members(&mut request, &extra, "/extra_params")?;
        Some(request)
    }

    /// A request of the client to one of the server's endpoints, with client authentication.
    fn endpoint(
        &mut self,
        url: &str,
        member: &str,
        fixed: &[(String, String)],
        secrets: &[(&str, Template)],
    ) -> Option<TokenStep> {
        let url = self.url(url, member)?;
        let mut injection = Injection::default();
        for (name, template) in secrets {
            injection.body.push((vec![(*name).to_owned()], template.clone()));
        }
        let mut fixed = fixed.to_vec();
        self.prove_client(&mut injection, &mut fixed)?;
        let body = match self.auth.body_format.unwrap_or_default() {
            BodyFormatDef::Form => StepBody::Form(fixed),
            BodyFormatDef::Json => StepBody::Json(
                fixed.into_iter().map(|(name, text)| (name, serde_json::Value::String(text))).collect(),
            ),
        };
        let (token, refresh) = self.token_paths();
        self.check_capture(&token, &refresh)?;
        let expires_in_path = self.auth.expires_in_path.clone().unwrap_or_else(|| "/expires_in".to_owned());
        for (at, path) in [("/auth/token_path", &token), ("/auth/expires_in_path", &expires_in_path)] {
            check_pointer(path, at, self.errors);
        }
        Some(TokenStep {
            method: Method::Post,
            url,
            headers: vec![("accept".to_owned(), "application/json".to_owned())],
            body,
            injection,
            capture: vec![
                ("access_token".to_owned(), Capture::Body(token)),
                ("refresh_token".to_owned(), Capture::Body(refresh)),
            ],
            config: self.auth.capture.clone().into_iter().collect(),
            expires_in_path,
            expires_unit: self.auth.expires_unit.unwrap_or(ExpiresUnitDef::S),
            format: self.auth.token_format.unwrap_or_default(),
        })
    }

    /// Pointers in the answer to the access token and to the refresh token.
    fn token_paths(&self) -> (String, String) {
        let token = self.auth.token_path.clone().unwrap_or_else(|| "/access_token".to_owned());
        let parent = token.strip_suffix("/access_token").unwrap_or_default();
        let refresh = format!("{parent}/refresh_token");
        (token, refresh)
    }

    /// `auth.capture_callback`: what a browser brings is visible to it anyway, but never a secret of the protocol.
    fn callback(&mut self) -> Option<Vec<(String, String)>> {
        let written = self.auth.capture_callback.clone();
        for (name, pair) in &written {
            let member = format!("/capture_callback/{}", step(name));
            if !self.fields.iter().any(|f| f.name == *name && f.automated) {
                let message = format!("there is no config field {name:?} marked automated");
                return self.refuse(&member, "unknown_reference", message);
            }
            if self.auth.capture.contains_key(name) {
                let message = format!("{name:?} is taken from the token answer, too");
                return self.refuse(&member, "duplicate_capture", message);
            }
            if ["code", "state", "iss", "error"].contains(&pair.as_str()) || names_secret(pair) {
                let message =
                    format!("{pair:?} is the protocol's own or a secret; what is taken is visible to guests");
                return self.refuse(&member, "capture_of_secret", message);
            }
            if pair.is_empty() {
                return self.refuse(&member, "wrong_form", "is the name of a pair of the query".to_owned());
            }
        }
        Some(written.into_iter().collect())
    }

    /// Captured values become visible config: they must be scalars beside the token, never a token.
    fn check_capture(&mut self, token: &str, refresh: &str) -> Option<()> {
        for (name, pointer) in self.auth.capture.clone() {
            let member = format!("/capture/{}", step(&name));
            if !self.fields.iter().any(|f| f.name == name && f.automated) {
                let message = format!("there is no config field {name:?} marked automated");
                return self.refuse(&member, "unknown_reference", message);
            }
            check_pointer(&pointer, &format!("/auth{member}"), self.errors);
            let place = steps(&pointer);
            let holds = |other: &str| pointer.is_empty() || overlap(&place, &steps(other));
            if names_secret(&pointer) || holds(token) || holds(refresh) {
                let message =
                    format!("{pointer:?} is or holds a token; what is captured is visible to guests");
                return self.refuse(&member, "capture_of_secret", message);
            }
        }
        Some(())
    }

    /// Scopes are single words and refer to actions that exist.
    pub(super) fn check_scopes(&mut self) {
        for (index, scope) in self.auth.scopes.iter().enumerate() {
            let at = format!("/auth/scopes/{index}");
            let name = scope.name();
            // RFC 6749 section 3.3, without braces: a scope is not a template.
            let word = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'{' | b'}');
            if name.is_empty() || !name.bytes().all(word) {
                let message = format!("{name:?} is not one scope: printable ASCII without spaces and braces");
                self.errors.push(Violation::new(&at, "wrong_form", message));
            }
            let ScopeDef::Described { required_by, .. } = scope else { continue };
            for (i, action) in required_by.iter().enumerate() {
                if !self.actions.contains(action.as_str()) {
                    let message = format!("there is no action {action:?}");
                    self.errors.push(Violation::new(
                        format!("{at}/required_by/{i}"),
                        "unknown_reference",
                        message,
                    ));
                }
            }
        }
    }

    /// Client authentication (RFC 6749 section 2.3, RFC 7523 section 2.2).
    fn prove_client(&mut self, injection: &mut Injection, fixed: &mut Vec<(String, String)>) -> Option<()> {
        let known = |r: &Self, name: &str| r.fields.iter().any(|f| f.name == name);
        // Why optional: a JWT bearer's assertion identifies the client, and a public client has no secret.
        let has_id = self.auth.client_id.is_some() || known(self, "client_id");
        let has_secret = self.auth.client_secret.is_some() || known(self, "client_secret");
        match self.auth.client_auth.unwrap_or_default() {
            way @ (ClientAuthDef::Basic | ClientAuthDef::BasicRaw) => {
                let username = self.named(self.auth.client_id.clone(), "client_id")?;
                let password = self.named(self.auth.client_secret.clone(), "client_secret")?;
                let fill = HeaderFill::Basic { username, password, encoded: way == ClientAuthDef::Basic };
                injection.headers.push((http::header::AUTHORIZATION, fill));
            }
            ClientAuthDef::Body => {
                for (name, has) in [("client_id", has_id), ("client_secret", has_secret)] {
                    let written =
                        if name == "client_id" { &self.auth.client_id } else { &self.auth.client_secret };
                    let written = written.clone();
                    if has {
                        injection.body.push((vec![name.to_owned()], self.named(written, name)?));
                    }
                }
            }
            ClientAuthDef::PrivateKeyJwt => {
                let client = self.auth.client_id.clone().unwrap_or_else(|| "{{cred.client_id}}".to_owned());
                let audience = self.auth.token_url.clone().unwrap_or_default();
                let defaults = [
                    ("iss", client.clone(), "/client_id"),
                    ("sub", client.clone(), "/client_id"),
                    ("aud", audience, "/token_url"),
                ];
                injection.jwt = Some(self.jwt_plan(&defaults)?);
                fixed.push(("client_assertion_type".to_owned(), ASSERTION.to_owned()));
                let assertion = Template::parse("{{jwt.token}}").ok()?;
                injection.body.push((vec!["client_assertion".to_owned()], assertion));
                injection.body.push((vec!["client_id".to_owned()], self.named(Some(client), "client_id")?));
            }
        }
        Some(())
    }

    /// Adds headers. Those without a variable are the definition's own; the others may be secret.
    fn add_headers(
        &mut self,
        request: &mut TokenStep,
        headers: &BTreeMap<String, String>,
        at: &str,
    ) -> Option<()> {
        for (name, text) in headers {
            let member = format!("{at}/{}", step(name));
            let header = self.header_name(name, &member)?;
            let value = self.placed(text, &member, Spot::Header)?;
            let is_own = |other: &str| is_same(other, header.as_str());
            let mut others =
                request.headers.iter().map(|(other, _)| other.as_str()).filter(|o| *o != "accept");
            if others.any(is_own) || request.injection.header_names().into_iter().any(is_own) {
                let message = format!("{name:?} is there already, perhaps in another spelling");
                return self.refuse(&member, "auth_duplicate", message);
            }
            request.headers.retain(|(other, _)| other != header.as_str());
            match value.as_literal() {
                Some(literal) => request.headers.push((header.as_str().to_owned(), literal.to_owned())),
                None => request.injection.headers.push((header, HeaderFill::Text(value))),
            }
        }
        Some(())
    }

    /// Adds members that are templates, which may be secret.
    fn add_members(
        &mut self,
        request: &mut TokenStep,
        members: &BTreeMap<String, String>,
        at: &str,
    ) -> Option<()> {
        for (name, text) in members {
            let member = format!("{at}/{}", step(name));
            let template = self.secret_template(text, &member, &[Scope::Cred, Scope::Config])?;
            self.add(request, name, template, &member)?;
        }
        Some(())
    }

    /// Adds a member that is not there yet: some servers read the first of two, others the second.
    fn add(&mut self, request: &mut TokenStep, name: &str, template: Template, member: &str) -> Option<()> {
        let fixed: Vec<&str> = match &request.body {
            StepBody::Form(pairs) => pairs.iter().map(|(other, _)| other.as_str()).collect(),
            StepBody::Json(document) => {
                document.as_object().into_iter().flatten().map(|(other, _)| other.as_str()).collect()
            }
            StepBody::None => Vec::new(),
        };
        let secret = request.injection.body.iter().filter_map(|(path, _)| path.first().map(String::as_str));
        if let Some(other) = fixed.into_iter().chain(secret).find(|other| is_same(other, name)) {
            let message = format!("{name:?} may be read as {other:?}, which the request has already");
            return self.refuse(member, "param_reserved", message);
        }
        request.injection.body.push((vec![name.to_owned()], template));
        Some(())
    }
}
