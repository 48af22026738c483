//! The grant of one call: which method, host and path it may ask for, and nothing else.
//!
//! [`EgressGrant::permit`] is the only maker of a [`PermittedTarget`], and the resolver takes
//! nothing less. A target cannot be permitted any other way:
//!
//! ```compile_fail
//! use portcullis_core::grant::PermittedTarget;
//! let forged = PermittedTarget { target: todo!(), matched_connector: todo!(), matched_org: None };
//! ```
//!
//! The same code compiles when it calls `permit`:
//!
//! ```
//! use portcullis_core::grant::{ActionScope, EgressGrant};
//! use portcullis_core::host_pattern::HostPattern;
//! use portcullis_core::org_rules::RulesVerdict;
//! use portcullis_core::verdict::{HostRules, OrgPolicy};
//! use portcullis_action::{Method, UrlTemplate};
//!
//! let template = UrlTemplate::parse("https://api.example-saas.com/v1/{{input.id}}").unwrap();
//! let grant = EgressGrant::new(
//!     HostRules {
//!         connector: vec![HostPattern::parse("*.example-saas.com").unwrap()],
//!         ports: vec![],
//!         org: OrgPolicy::Unrestricted,
//!         org_rules: RulesVerdict::ALLOWED,
//!     },
//!     vec![ActionScope::new(Method::Get, &template, &Default::default()).unwrap()],
//!     8192,
//! );
//! let (verdict, permitted) = grant.permit(b"https://api.example-saas.com/v1/7", Method::Get);
//! assert!(verdict.refusal.is_none());
//! assert_eq!(permitted.unwrap().target().host(), "api.example-saas.com");
//! ```

use std::sync::Arc;

use portcullis_action::budget::{Budget, RENDERED_BYTES};
use portcullis_action::render::Values;
use portcullis_action::template::{Part, Scope, Template, Variable, scalar_text};
use portcullis_action::{Method, RenderError, UrlTemplate, escape};
use serde_json::{Map, Value};

use crate::definition::RedirectFollow;
use crate::fault::Code;
use crate::host_pattern::HostPattern;
use crate::target::{DEFAULT_PORT, Target};
use crate::verdict::{Decision, HostRules, LiveRules, Verdict, judge, judge_request};

mod glob;

use glob::Glob;

/// One step of a path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// One segment.
    One(Glob),
    /// One segment or more, each neither empty nor a dot segment: `{{+input.path}}`.
    Rest,
}

/// Whether a path, split at its slashes, matches the pattern.
///
/// Instead of trying every division of the path among the `Rest` steps one after the other, all of
/// them are followed at once: the work is steps times segments whatever a guest asks for, and no step
/// looks at a segment's text more than once for each of its literals.
fn path_matches(steps: &[Step], segments: &[&str]) -> bool {
    if !steps.contains(&Step::Rest) {
        let one = |(step, segment): (&Step, &&str)| matches!(step, Step::One(glob) if glob.matches(segment));
        return steps.len() == segments.len() && steps.iter().zip(segments).all(one);
    }
    // `reached[i]`: the steps so far can have used up exactly the first `i` segments.
    let mut reached = vec![false; segments.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    for step in steps {
        let mut next = Vec::with_capacity(reached.len());
        // Why: every step takes at least one segment.
        next.push(false);
        let mut running = false;
        for (before, segment) in reached.iter().zip(segments) {
            running = match step {
                Step::One(glob) => *before && glob.matches(segment),
                Step::Rest => (*before || running) && is_plain_segment(segment),
            };
            next.push(running);
        }
        reached = next;
    }
    reached.last().is_some_and(|end| *end)
}

/// Not empty and not a dot segment in any spelling (WHATWG URL, "single-dot" and "double-dot URL
/// path segment"). The parser has removed those already; this does not rely on it.
fn is_plain_segment(segment: &str) -> bool {
    let dots = segment.to_ascii_lowercase().replace("%2e", ".");
    !matches!(dots.as_str(), "" | "." | "..")
}

/// What one action may ask for: its method, host and path pattern, with the connection's config
/// values filled in, so that one tenant's grant never covers another tenant's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionScope {
    method: Method,
    host: Vec<Glob>,
    port: u16,
    path: PathRule,
}

/// Which paths are granted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PathRule {
    Pattern(Vec<Step>),
    Any,
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
        let budget = Budget::rendering(RENDERED_BYTES);
        let host = match template.host_variable() {
            Some(variable) => whole_host(variable, config, &budget)?,
            None => template
                .host
                .iter()
                .map(|label| bind(label.parts(), config, &budget, escape::host_label))
                .collect::<Result<_, _>>()?,
        };
        let mut path = Vec::with_capacity(template.segments.len());
        for segment in &template.segments {
            bind_segment(segment, config, &budget, &mut path)?;
        }
        if path.is_empty() {
            path.push(Step::One(Glob::EMPTY));
        }
        let port = template.port.unwrap_or(DEFAULT_PORT);
        Ok(Self { method, host, port, path: PathRule::Pattern(path) })
    }

    /// The same with every path at its host: for an upstream that names where its work can be asked for.
    #[must_use]
    pub fn with_any_path(self) -> Self {
        Self { path: PathRule::Any, ..self }
    }

    /// The host, when no input can choose it.
    #[must_use]
    pub fn fixed_host(&self) -> Option<String> {
        let labels: Option<Vec<&str>> = self.host.iter().map(Glob::literal).collect();
        labels.map(|labels| labels.join("."))
    }

    /// Its origin, `https://host[:port]`, when no input can choose the host.
    #[must_use]
    pub fn fixed_origin(&self) -> Option<String> {
        let host = self.fixed_host()?;
        Some(if self.port == DEFAULT_PORT {
            format!("https://{host}")
        } else {
            format!("https://{host}:{}", self.port)
        })
    }

    fn covers_origin(&self, target: &Target) -> bool {
        let mut labels = target.host().split('.');
        self.port == target.port()
            && self.host.iter().all(|glob| labels.next().is_some_and(|label| glob.matches(label)))
            && labels.next().is_none()
    }

    fn covers_path(&self, target: &Target) -> bool {
        let PathRule::Pattern(pattern) = &self.path else { return true };
        let path = target.path().strip_prefix('/').unwrap_or_default();
        let segments: Vec<&str> = path.split('/').collect();
        path_matches(pattern, &segments)
    }
}

/// The labels of a host that is one config value.
fn whole_host(
    variable: &Variable,
    config: &Map<String, Value>,
    budget: &Budget,
) -> Result<Vec<Glob>, RenderError> {
    let mut host = String::new();
    escape::host(&config_text(variable, config, budget)?, &mut host)
        .map_err(|e| RenderError::new(variable.to_string(), e.to_string()))?;
    Ok(host.split('.').map(|label| Glob::Literal(label.to_owned())).collect())
}

/// The steps of one segment of the template; a `{{+config.x}}` has as many as its value.
fn bind_segment(
    segment: &Template,
    config: &Map<String, Value>,
    budget: &Budget,
    path: &mut Vec<Step>,
) -> Result<(), RenderError> {
    match segment.as_single_variable().filter(|variable| variable.multi) {
        Some(variable) if variable.scope == Scope::Config => {
            let mut out = String::new();
            escape::path_segments(&config_text(variable, config, budget)?, &mut out)
                .map_err(|e| RenderError::new(variable.to_string(), e.to_string()))?;
            path.extend(out.split('/').map(|s| Step::One(Glob::Literal(s.to_owned()))));
        }
        Some(_) => path.push(Step::Rest),
        None => path.push(Step::One(bind(&segment.parts, config, budget, |text, out| {
            escape::percent_encode(text, out);
            Ok(())
        })?)),
    }
    Ok(())
}

fn bind(
    parts: &[Part],
    config: &Map<String, Value>,
    budget: &Budget,
    escape_into: impl Fn(&str, &mut String) -> Result<(), escape::EscapeError>,
) -> Result<Glob, RenderError> {
    let mut glob = Glob::EMPTY;
    for part in parts {
        match part {
            Part::Literal(text) => glob.push_literal(text),
            Part::Variable(variable) if variable.scope == Scope::Config => {
                let text = config_text(variable, config, budget)?;
                let mut out = String::new();
                escape_into(&text, &mut out)
                    .map_err(|e| RenderError::new(variable.to_string(), e.to_string()))?;
                glob.push_literal(&out);
            }
            Part::Variable(_) => glob.push_wildcard(),
        }
    }
    Ok(glob)
}

fn config_text(
    variable: &Variable,
    config: &Map<String, Value>,
    budget: &Budget,
) -> Result<String, RenderError> {
    let value = Values::config_only(config).within(budget).get(variable)?;
    value
        .as_ref()
        .and_then(scalar_text)
        .ok_or_else(|| RenderError::new(variable.to_string(), "has no value".to_owned()))
}

/// The capability of one call.
#[derive(Debug, Clone)]
pub struct EgressGrant {
    rules: LiveRules,
    scopes: Vec<ActionScope>,
    url_bytes_max: u64,
}

/// A target that every list and the action's scope have passed. Only [`EgressGrant::permit`] makes
/// one; only the resolver takes it.
#[derive(Debug, Clone)]
pub struct PermittedTarget {
    // Invariant: passed `permit` of the grant it was made by.
    target: Target,
    matched_connector: HostPattern,
    matched_org: Option<HostPattern>,
    /// The rules that it passed.
    rules: Arc<HostRules>,
}

impl PermittedTarget {
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// The connector's entry that matched.
    #[must_use]
    pub fn matched_connector(&self) -> &str {
        self.matched_connector.as_str()
    }

    /// The org's entry that matched.
    #[must_use]
    pub fn matched_org(&self) -> Option<&str> {
        self.matched_org.as_ref().map(HostPattern::as_str)
    }
}

impl EgressGrant {
    /// A grant of exactly these scopes under these rules.
    #[must_use]
    pub fn new(rules: impl Into<LiveRules>, scopes: Vec<ActionScope>, url_bytes_max: u64) -> Self {
        Self { rules: rules.into(), scopes, url_bytes_max }
    }

    /// The lists as they are now.
    #[must_use]
    pub fn rules(&self) -> Arc<HostRules> {
        self.rules.current()
    }

    /// Why the lists refuse a target that they permitted a moment ago; `None` unless they were replaced since.
    #[must_use]
    pub fn refused_since(&self, permitted: &PermittedTarget) -> Option<Code> {
        let rules = self.rules.current();
        if Arc::ptr_eq(&rules, &permitted.rules) {
            return None;
        }
        judge(permitted.target.origin().as_bytes(), &rules, self.url_bytes_max).refusal
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
        let rules = self.rules.current();
        let mut verdict = judge(raw_url, &rules, self.url_bytes_max);
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
        (verdict, Some(PermittedTarget { target, matched_connector, matched_org, rules }))
    }

    /// Judges one request from the top: lists, then the action's own method, host and path.
    #[must_use]
    pub fn permit(&self, raw_url: &[u8], method: Method) -> (Verdict, Option<PermittedTarget>) {
        let rules = self.rules.current();
        let mut verdict = judge_request(raw_url, method, &rules, self.url_bytes_max);
        let (None, Some(target), Some(matched_connector)) =
            (verdict.refusal, verdict.target.clone(), verdict.matched_connector.clone())
        else {
            return (verdict, None);
        };
        let mut refusal = Some(Code::PathNotGranted);
        for scope in self.scopes.iter().filter(|s| s.covers_origin(&target) && s.covers_path(&target)) {
            if scope.method == method {
                refusal = None;
                break;
            }
            refusal = Some(Code::MethodForbidden);
        }
        if let Some(code) = refusal {
            verdict.refusal = Some(code);
            verdict.decisions.push(Decision::refuse("action_grant", code));
            return (verdict, None);
        }
        verdict.decisions.push(Decision::pass("action_grant", None));
        let matched_org = verdict.matched_org.clone();
        (verdict, Some(PermittedTarget { target, matched_connector, matched_org, rules }))
    }
}

#[cfg(test)]
mod tests;
