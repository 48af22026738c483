//! An authorization server that follows RFC 6749 for refresh tokens and records every request. A test can
//! make it slow, rotate tokens, accept a repeated refresh token, or fail. The API beside it accepts only the
//! newest token.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::upstream::{Received, Script, Upstream, whole};

/// The path of the token endpoint.
pub(crate) const TOKEN: &str = "/oauth/token";
/// The path of the API.
pub(crate) const API: &str = "/v1/things";

/// How the server behaves; a test may change it between requests.
#[derive(Debug, Clone)]
pub(crate) struct Ways {
    /// Each refresh token works once.
    pub(crate) rotates: bool,
    /// The refresh token before the newest also works until the newest pair is used.
    pub(crate) grace: bool,
    /// Whether it issues refresh tokens.
    pub(crate) refreshable: bool,
    /// `expires_in`; left out when null.
    pub(crate) expires_in: Value,
    /// Further members of a successful response.
    pub(crate) more: Value,
    /// Replaces the response of the token endpoint.
    pub(crate) instead: Option<Script>,
    /// Response of the API to a valid token.
    pub(crate) api: Script,
    /// Response of the API to any other token.
    pub(crate) stale: Script,
}

impl Default for Ways {
    fn default() -> Self {
        Self {
            rotates: false,
            grace: false,
            refreshable: true,
            expires_in: json!(3600),
            more: json!({}),
            instead: None,
            api: Script::Json(200, r#"{"ok":true}"#),
            stale: Script::Json(401, r#"{"error":"token no good"}"#),
        }
    }
}

#[derive(Default)]
struct State {
    ways: Ways,
    /// The number of tokens issued.
    given: usize,
    /// The refresh token before the newest.
    previous_refresh: Option<String>,
    refresh: Option<String>,
    access: Option<String>,
    /// The newest pair was used.
    used: bool,
    asked: Vec<Asked>,
}

/// A token request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Members of its form or JSON body.
    pub(crate) members: HashMap<String, String>,
    /// As it was on the wire.
    pub(crate) request: Received,
}

impl Asked {
    /// The value of a member; empty when absent.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.members.get(name).map_or("", String::as_str)
    }

    /// User and password of `Authorization: Basic`.
    pub(crate) fn basic(&self) -> String {
        let header = self.request.header("authorization").join(",");
        let coded = header.strip_prefix("Basic ").unwrap_or_default();
        String::from_utf8(BASE64.decode(coded).unwrap()).unwrap()
    }
}

#[derive(Clone, Default)]
pub(crate) struct TokenServer(Arc<Mutex<State>>);

impl TokenServer {
    /// Adds it to an upstream.
    pub(crate) fn on(upstream: &Upstream) -> Self {
        let server = Self::default();
        let (tokens, api) = (server.clone(), server.clone());
        upstream.script(TOKEN, Script::made(move |request| tokens.token(request)));
        upstream.script(API, Script::made(move |request| api.api(request)));
        server
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Changes how it behaves.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Ways)) {
        change(&mut self.state().ways);
    }

    /// Every token request so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// The newest access token.
    pub(crate) fn access(&self) -> String {
        self.state().access.clone().unwrap_or_default()
    }

    /// From now on the API accepts none of the tokens issued so far.
    pub(crate) fn revoke_access(&self) {
        self.state().access = None;
    }

    /// From now on this refresh token works, as if a user had received it.
    pub(crate) fn know_refresh(&self, token: &str) {
        self.state().refresh = Some(token.to_owned());
    }

    fn token(&self, request: &Received) -> Script {
        let mut state = self.state();
        let asked = Asked { members: members(request), request: request.clone() };
        state.asked.push(asked.clone());
        if let Some(instead) = state.ways.instead.clone() {
            return instead;
        }
        if asked.get("grant_type") == "refresh_token" && !state.takes(asked.get("refresh_token")) {
            return Script::Json(400, r#"{"error":"invalid_grant","error_description":"used up"}"#);
        }
        Script::json(200, &state.give())
    }

    fn api(&self, request: &Received) -> Script {
        let mut state = self.state();
        let sent = request.header("authorization").join(",");
        let good = state.access.as_ref().is_some_and(|token| sent == format!("Bearer {token}"));
        state.used |= good;
        if good { state.ways.api.clone() } else { state.ways.stale.clone() }
    }
}

impl State {
    fn takes(&mut self, token: &str) -> bool {
        let newest = self.refresh.as_deref() == Some(token);
        let forgiven = self.ways.grace && !self.used && self.previous_refresh.as_deref() == Some(token);
        if newest && self.ways.rotates {
            self.previous_refresh = self.refresh.clone();
        }
        newest || forgiven
    }

    fn give(&mut self) -> Value {
        self.given += 1;
        self.used = false;
        let access = format!("at-{:04}-QzR7wK2n", self.given);
        self.access = Some(access.clone());
        let mut answer: Map<String, Value> = Map::new();
        answer.insert("access_token".into(), json!(access));
        answer.insert("token_type".into(), json!("Bearer"));
        if self.ways.refreshable && (self.refresh.is_none() || self.ways.rotates) {
            let refresh = format!("rt-{:04}-hV9xLm3e", self.given);
            answer.insert("refresh_token".into(), json!(refresh));
            self.refresh = Some(refresh);
        }
        if !self.ways.expires_in.is_null() {
            answer.insert("expires_in".into(), self.ways.expires_in.clone());
        }
        answer.extend(self.ways.more.as_object().cloned().unwrap_or_default());
        Value::Object(answer)
    }
}

/// The members of a form or of a JSON object.
fn members(request: &Received) -> HashMap<String, String> {
    if request.header("content-type").iter().any(|media| media.starts_with("application/json")) {
        let document: Map<String, Value> = serde_json::from_slice(&request.body).unwrap();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        return document.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    }
    let pairs = request.text().split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (unescaped(name), unescaped(value))).collect()
}

/// Decodes the percent escapes of a form.
pub(crate) fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}

/// A response with these headers.
pub(crate) fn answer_with(status: u16, headers: &[(&str, &str)], body: &str) -> Script {
    Script::Kept(whole(status, headers, body))
}
