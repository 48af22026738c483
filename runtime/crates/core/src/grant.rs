//! The grant of one call: which method, host and path it may ask for, and nothing else.
//!
//! [`EgressGrant::permit`] is the only maker of a [`PermittedTarget`], and the resolver takes
//! nothing less. A target cannot be permitted any other way:
//!
//! ```compile_fail
//! use portcullis_core::grant::PermittedTarget;
//! let forged = PermittedTarget { target: todo!(), matched_connector: String::new(), matched_org: None };
//! ```
//!
//! The passing twin asks for it:
//!
//! ```
//! use portcullis_core::grant::{ActionScope, EgressGrant};
//! use portcullis_core::host_pattern::HostPattern;
//! use portcullis_core::verdict::{HostRules, OrgPolicy};
//! use portcullis_action::{Method, UrlTemplate};
//!
//! let template = UrlTemplate::parse("https://api.example-saas.com/v1/{{input.id}}").unwrap();
//! let grant = EgressGrant::new(
//!     HostRules {
//!         connector: vec![HostPattern::parse("*.example-saas.com").unwrap()],
//!         ports: vec![],
//!         org: OrgPolicy::Unrestricted,
//!     },
//!     vec![ActionScope::new(Method::Get, &template, &Default::default()).unwrap()],
//!     8192,
//! );
//! let (verdict, permitted) = grant.permit(b"https://api.example-saas.com/v1/7", Method::Get);
//! assert!(verdict.refusal.is_none());
//! assert_eq!(permitted.unwrap().target().host(), "api.example-saas.com");
//! ```

use portcullis_action::render::Values;
use portcullis_action::template::{Part, Scope, Template};
use portcullis_action::{Method, RenderError, UrlTemplate, escape};
use serde_json::{Map, Value};

use crate::definition::RedirectFollow;
use crate::fault::Code;
use crate::target::{DEFAULT_PORT, Target};
use crate::verdict::{Decision, HostRules, Verdict, judge};

/// A piece of text to match: literals with wildcards between them. A wildcard is at least one
/// character and never a separator, because matching happens label by label and segment by segment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Glob {
    // Invariant: no two wildcards in a row; `None` is a wildcard.
    parts: Vec<Option<String>>,
}

impl Glob {
    fn push_literal(&mut self, text: &str) {
        match self.parts.last_mut() {
            Some(Some(last)) => last.push_str(text),
            _ => self.parts.push(Some(text.to_owned())),
        }
    }

    fn push_wildcard(&mut self) {
        if self.parts.last() != Some(&None) {
            self.parts.push(None);
        }
    }

    fn matches(&self, text: &str) -> bool {
        fn go(parts: &[Option<String>], text: &str) -> bool {
            match parts {
                [] => text.is_empty(),
                [None] => !text.is_empty(),
                [Some(literal), rest @ ..] => {
                    text.strip_prefix(literal.as_str()).is_some_and(|t| go(rest, t))
                }
                [None, rest @ ..] => text
                    .char_indices()
                    .skip(1)
                    .any(|(at, _)| text.get(at..).is_some_and(|tail| go(rest, tail))),
            }
        }
        go(&self.parts, text)
    }

    fn literal(&self) -> Option<String> {
        self.parts.iter().map(Option::as_deref).collect()
    }
}

/// What one action may ask for: its method, host and path pattern, with the connection's config
/// values filled in, so that one tenant's grant never covers another tenant's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionScope {
    method: Method,
    host: Vec<Glob>,
    port: u16,
    path: Vec<Glob>,
}

impl ActionScope {
    /// The scope of a URL template for one connection.
    ///
    /// # Errors
    /// [`RenderError`] when a config value is absent or cannot stand at its position.
    pub fn new(
        method: Method,
        template: &UrlTemplate,
        config: &Map<String, Value>,
    ) -> Result<Self, RenderError> {
        let host = template
            .host
            .iter()
            .map(|label| bind(label.parts(), config, escape::host_label))
            .collect::<Result<_, _>>()?;
        let mut path: Vec<Glob> = template
            .segments
            .iter()
            .map(|segment: &Template| {
                bind(&segment.parts, config, |text, out| {
                    escape::percent_encode(text, out);
                    Ok(())
                })
            })
            .collect::<Result<_, _>>()?;
        if path.is_empty() {
            path.push(Glob { parts: Vec::new() });
        }
        Ok(Self { method, host, port: template.port.unwrap_or(DEFAULT_PORT), path })
    }

    /// The host, when no input can choose it.
    #[must_use]
    pub fn fixed_host(&self) -> Option<String> {
        let labels: Option<Vec<String>> = self.host.iter().map(Glob::literal).collect();
        labels.map(|labels| labels.join("."))
    }

    fn covers_origin(&self, target: &Target) -> bool {
        let labels: Vec<&str> = target.host().split('.').collect();
        self.port == target.port()
            && labels.len() == self.host.len()
            && self.host.iter().zip(labels).all(|(glob, label)| glob.matches(label))
    }

    fn covers_path(&self, target: &Target) -> bool {
        let path = target.path().strip_prefix('/').unwrap_or_default();
        let segments: Vec<&str> = path.split('/').collect();
        segments.len() == self.path.len()
            && self.path.iter().zip(segments).all(|(glob, segment)| glob.matches(segment))
    }
}

fn bind(
    parts: &[Part],
    config: &Map<String, Value>,
    escape_into: impl Fn(&str, &mut String) -> Result<(), escape::EscapeError>,
) -> Result<Glob, RenderError> {
    let empty = Map::new();
    let values = Values { input: &empty, config, action_id: "", run_id: "", source: None };
    let mut glob = Glob { parts: Vec::new() };
    for part in parts {
        match part {
            Part::Literal(text) => glob.push_literal(text),
            Part::Variable(variable) if variable.scope == Scope::Config => {
                let text = values
                    .get(variable)
                    .as_ref()
                    .and_then(portcullis_action::template::scalar_text)
                    .ok_or_else(|| RenderError {
                    variable: variable.to_string(),
                    why: "has no value".to_owned(),
                })?;
                let mut out = String::new();
                escape_into(&text, &mut out)
                    .map_err(|e| RenderError { variable: variable.to_string(), why: e.to_string() })?;
                glob.push_literal(&out);
            }
            Part::Variable(_) => glob.push_wildcard(),
        }
    }
    Ok(glob)
}

/// The capability of one call.
#[derive(Debug, Clone)]
pub struct EgressGrant {
    rules: HostRules,
    scopes: Vec<ActionScope>,
    url_bytes_max: u64,
}

/// A target that every list and the action's scope have passed. Only [`EgressGrant::permit`] makes
/// one; only the resolver takes it.
#[derive(Debug, Clone)]
pub struct PermittedTarget {
    // Invariant: passed `permit` of the grant it was made by.
    target: Target,
    matched_connector: String,
    matched_org: Option<String>,
}

impl PermittedTarget {
    /// The target.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// The connector's entry that matched.
    #[must_use]
    pub fn matched_connector(&self) -> &str {
        &self.matched_connector
    }

    /// The org's entry that matched.
    #[must_use]
    pub fn matched_org(&self) -> Option<&str> {
        self.matched_org.as_deref()
    }
}

impl EgressGrant {
    /// A grant of exactly these scopes under these rules.
    #[must_use]
    pub const fn new(rules: HostRules, scopes: Vec<ActionScope>, url_bytes_max: u64) -> Self {
        Self { rules, scopes, url_bytes_max }
    }

    /// Judges a redirect's target from the top: lists, and the same host when only that is allowed.
    /// The path is the upstream's choice and is not held against the action's pattern.
    #[must_use]
    pub fn permit_redirect(
        &self,
        raw_url: &[u8],
        from: &Target,
        follow: RedirectFollow,
    ) -> (Verdict, Option<PermittedTarget>) {
        let mut verdict = judge(raw_url, &self.rules, self.url_bytes_max);
        let (None, Some(target), Some(matched_connector)) =
            (verdict.refusal, verdict.target.clone(), verdict.matched_connector.clone())
        else {
            return (verdict, None);
        };
        let same = target.origin() == from.origin();
        let allowed = match follow {
            RedirectFollow::None => false,
            RedirectFollow::SameHost => same,
            RedirectFollow::AllowedHosts => true,
        };
        if !allowed {
            verdict.refusal = Some(Code::RedirectForbidden);
            verdict.decisions.push(Decision::refuse("redirect", Code::RedirectForbidden));
            return (verdict, None);
        }
        verdict.decisions.push(Decision::pass("redirect", None));
        let matched_org = verdict.matched_org.clone();
        (verdict, Some(PermittedTarget { target, matched_connector, matched_org }))
    }

    /// Judges one request from the top: lists, then the action's own method, host and path.
    #[must_use]
    pub fn permit(&self, raw_url: &[u8], method: Method) -> (Verdict, Option<PermittedTarget>) {
        let mut verdict = judge(raw_url, &self.rules, self.url_bytes_max);
        let (None, Some(target), Some(matched_connector)) =
            (verdict.refusal, verdict.target.clone(), verdict.matched_connector.clone())
        else {
            return (verdict, None);
        };
        let by_origin = self.scopes.iter().filter(|s| s.covers_origin(&target));
        let by_path: Vec<&ActionScope> = by_origin.filter(|s| s.covers_path(&target)).collect();
        let refusal = if by_path.is_empty() {
            Some(Code::PathNotGranted)
        } else if by_path.iter().all(|s| s.method != method) {
            Some(Code::MethodForbidden)
        } else {
            None
        };
        if let Some(code) = refusal {
            verdict.refusal = Some(code);
            verdict.decisions.push(Decision::refuse("action_grant", code));
            return (verdict, None);
        }
        verdict.decisions.push(Decision::pass("action_grant", None));
        let matched_org = verdict.matched_org.clone();
        (verdict, Some(PermittedTarget { target, matched_connector, matched_org }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_pattern::HostPattern;
    use crate::verdict::OrgPolicy;
    use serde_json::json;

    fn grant(template: &str) -> EgressGrant {
        let config = json!({ "shop": "acme" }).as_object().cloned().unwrap();
        let template = UrlTemplate::parse(template).unwrap();
        EgressGrant::new(
            HostRules {
                connector: vec![HostPattern::parse("*.example-saas.com").unwrap()],
                ports: vec![],
                org: OrgPolicy::Unrestricted,
            },
            vec![ActionScope::new(Method::Get, &template, &config).unwrap()],
            8192,
        )
    }

    fn code(grant: &EgressGrant, url: &str, method: Method) -> &'static str {
        let (verdict, permitted) = grant.permit(url.as_bytes(), method);
        assert_eq!(verdict.refusal.is_none(), permitted.is_some());
        verdict.refusal.map_or("ok", Code::as_str)
    }

    #[test]
    fn only_the_actions_own_method_and_path_are_granted() {
        let grant = grant("https://api.example-saas.com/v1/items/{{input.id}}/x{{input.n}}.json");
        let base = "https://api.example-saas.com";
        assert_eq!(code(&grant, &format!("{base}/v1/items/7/x1.json"), Method::Get), "ok");
        assert_eq!(code(&grant, &format!("{base}/v1/items/a%2Fb/x1.json?q=1"), Method::Get), "ok");
        assert_eq!(code(&grant, &format!("{base}/v1/items/7/x1.json"), Method::Delete), "method_forbidden");
        for path in [
            "/v1/items/7",
            "/v1/items//x1.json",
            "/v1/items/7/x.json",
            "/v1/items/7/x1.json/",
            "/v1/items/7/8/x1.json",
            "/",
            "/v2/items/7/x1.json",
        ] {
            assert_eq!(code(&grant, &format!("{base}{path}"), Method::Get), "path_not_granted", "{path}");
        }
        assert_eq!(
            code(&grant, "https://other.example-saas.com/v1/items/7/x1.json", Method::Get),
            "path_not_granted"
        );
    }

    #[test]
    fn a_config_value_pins_the_host_to_this_tenant() {
        let grant = grant("https://{{config.shop}}.example-saas.com/");
        assert_eq!(grant.scopes[0].fixed_host().as_deref(), Some("acme.example-saas.com"));
        assert_eq!(code(&grant, "https://acme.example-saas.com/", Method::Get), "ok");
        assert_eq!(code(&grant, "https://other.example-saas.com/", Method::Get), "path_not_granted");
    }

    #[test]
    fn a_redirect_is_judged_from_the_top_and_by_its_own_rule() {
        let grant = grant("https://api.example-saas.com/v1/x");
        let from = Target::parse(b"https://api.example-saas.com/v1/x", 8192).unwrap();
        let code = |url: &str, follow| {
            let (verdict, permitted) = grant.permit_redirect(url.as_bytes(), &from, follow);
            assert_eq!(verdict.refusal.is_none(), permitted.is_some());
            verdict.refusal.map_or("ok", Code::as_str)
        };
        let (same, any) = (RedirectFollow::SameHost, RedirectFollow::AllowedHosts);
        assert_eq!(code("https://api.example-saas.com/elsewhere", same), "ok");
        assert_eq!(code("https://files.example-saas.com/f", same), "redirect_forbidden");
        assert_eq!(code("https://files.example-saas.com/f", any), "ok");
        assert_eq!(code("https://evil.example.net/f", any), "host_not_in_connector");
        assert_eq!(code("http://api.example-saas.com/", any), "scheme_not_https");
        assert_eq!(code("https://api.example-saas.com/", RedirectFollow::None), "redirect_forbidden");
    }

    #[test]
    fn an_absent_config_value_makes_no_grant() {
        let template = UrlTemplate::parse("https://{{config.none}}.example-saas.com/").unwrap();
        assert!(ActionScope::new(Method::Get, &template, &Map::new()).is_err());
    }
}
