//! A connector's custom module: which one, and what it may do.

use std::collections::BTreeSet;

use portcullis_action::template::Scope;
use portcullis_action::{Method, UrlTemplate};

use super::action::Report;
use super::base::Base;
use super::place::check_config_variables;
use super::reach::Reach;
use crate::definition::{Definition, HandlerDef, ProfileDef};
use crate::form::Field;

/// What a connector's module may do.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// `sha256:` and the digest of its bytes.
    pub module: String,
    pub profile: ProfileDef,
    /// Each request that it may make: method, where to, and the URL as written.
    pub requests: Vec<(Method, UrlTemplate, String)>,
    /// Requests of one call, if fewer than the platform allows.
    pub requests_max: Option<u64>,
    /// Linear memory, bytes, if less than the platform allows.
    pub memory_bytes: Option<u64>,
    /// Time it may compute, milliseconds, if less than the platform allows.
    pub cpu_ms: Option<u64>,
}

impl Runtime {
    /// What the module may do besides its limits, one line for each thing: a set that another revision's can be compared
    /// with.
    #[must_use]
    pub fn capabilities(&self) -> BTreeSet<String> {
        let requests = self.requests.iter().map(|(method, _, url)| format!("request {method} {url}"));
        requests
            .chain([format!("module {}", self.module), format!("profile {}", self.profile.as_str())])
            .collect()
    }

    /// Its own limits by name, those of the platform as none.
    #[must_use]
    pub const fn limits(&self) -> [(&'static str, Option<u64>); 3] {
        [("requests", self.requests_max), ("memory_bytes", self.memory_bytes), ("cpu_ms", self.cpu_ms)]
    }
}

/// Checks `runtime`; actions that a module serves need it.
pub(super) fn build(
    definition: &Definition,
    fields: &[Field],
    reach: Reach<'_>,
    base: &Base,
    report: &mut Report<'_>,
) -> Option<Runtime> {
    let served = definition.actions.iter().position(|action| action.handler == HandlerDef::Module);
    let Some(written) = &definition.runtime else {
        if let Some(index) = served {
            let message = "the action is served by a module, and the definition has no runtime";
            report.error(format!("/actions/{index}/handler"), "runtime_missing", message);
        }
        return None;
    };
    if served.is_none() {
        let message = "no action has handler: \"module\", so the module would never run";
        report.warn("/runtime", "runtime_unused", message);
    }
    let mut requests = Vec::new();
    for (index, request) in written.requests.iter().enumerate() {
        let at = format!("/runtime/requests/{index}/url");
        match pattern(&request.url, base) {
            Ok(url) => {
                let own = url.variables().filter(|variable| variable.scope != Scope::Input);
                check_config_variables(own, fields, &at, report.errors);
                reach.check(&url, &at, report.errors);
                let each = request.methods.iter().map(|method| (*method, url.clone(), request.url.clone()));
                requests.extend(each);
            }
            Err(why) => report.error(at, "request_pattern_invalid", why),
        }
    }
    Some(Runtime {
        module: written.module.clone(),
        profile: written.profile,
        requests,
        requests_max: written.limits.requests,
        memory_bytes: written.limits.memory_bytes,
        cpu_ms: written.limits.cpu_ms,
    })
}

/// A pattern as a URL template: what a `{name}` stands for is an input to it.
fn pattern(written: &str, base: &Base) -> Result<UrlTemplate, String> {
    let whole = match (written.starts_with('/'), base) {
        (false, _) => written.to_owned(),
        (true, Base::Sound(base)) => format!("{base}{written}"),
        (true, Base::Unsound) => return Err("is below base_url, which is refused".to_owned()),
        (true, Base::Absent) => return Err("begins with / but the definition has no base_url".to_owned()),
    };
    if whole.contains(['?', '#']) {
        return Err("has a query or a fragment; the query of a request is free".to_owned());
    }
    let url = UrlTemplate::parse(&filled(&whole)?).map_err(|e| e.to_string())?;
    let of_input = |label: &portcullis_action::url_template::HostLabel| {
        label.parts().iter().any(|part| match part {
            portcullis_action::template::Part::Variable(variable) => variable.scope == Scope::Input,
            portcullis_action::template::Part::Literal(_) => false,
        })
    };
    if url.host.iter().any(of_input) {
        return Err("has a pattern in its host; the host is fixed or made of config.*".to_owned());
    }
    Ok(url)
}

/// `{name}` and `{name+}` as variables; `{{config.x}}` stays.
fn filled(pattern: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        if let Some(template) = after.strip_prefix('{') {
            let (inside, after) = template.split_once("}}").ok_or("has {{ without }}")?;
            if !inside.trim().starts_with("config.") {
                return Err(format!(
                    "{{{{{inside}}}}} is not available here; write config.<field>, or {{name}}"
                ));
            }
            out.push_str(&format!("{{{{{inside}}}}}"));
            rest = after;
            continue;
        }
        let (name, after) = after.split_once('}').ok_or("has { without }")?;
        let (name, many) = name.strip_suffix('+').map_or((name, ""), |name| (name, "+"));
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(format!("{{{name}}} is no name: letters, digits and underscores"));
        }
        out.push_str(&format!("{{{{{many}input.{name}}}}}"));
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}
