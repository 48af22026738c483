//! A connector, valid by construction: what the runtime works with.
//!
//! [`Connector::parse`] is the only maker. It reads the wire form, applies every rule, and reports
//! every breach at once with a JSON pointer and a stable code; lint, validate and upload share it.

use http::HeaderName;
use portcullis_action::template::Template;
use portcullis_action::{ActionPlan, Method, UrlTemplate};
use serde_json::Value;

use crate::definition::{self, AuthType, Definition, RedirectFollow};
use crate::host_pattern::{self, HostPattern};
use crate::id::{ActionId, ConnectorId};
use crate::injection::Injection;
use crate::input::{Field, Input};
use crate::limits::Limits;
use crate::problem::Problem;

mod action;
mod auth;

/// The slot name under which a connector's credential is asked for.
pub const DEFAULT_SLOT: &str = "default";

/// Most redirects followed for one request. An API that needs more is not one.
pub const REDIRECT_HOPS_MAX: u8 = 3;

/// Which redirects are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedirectPolicy {
    /// Where to.
    pub follow: RedirectFollow,
    /// Most hops.
    pub hops_max: u8,
}

impl RedirectPolicy {
    /// None is followed: the default.
    pub const NONE: Self = Self { follow: RedirectFollow::None, hops_max: 0 };
}

/// A checked connector.
#[derive(Debug, Clone)]
pub struct Connector {
    /// Its id.
    pub id: ConnectorId,
    /// Name for people.
    pub display_name: String,
    /// What it is.
    pub description: Option<String>,
    /// Where it is documented.
    pub docs_url: Option<String>,
    /// The kill switch, as uploaded.
    pub enabled: bool,
    /// How requests are authenticated.
    pub auth_type: AuthType,
    /// Credential form and config fields together, in order.
    pub fields: Vec<Field>,
    /// Where the credential goes.
    pub injection: Injection,
    /// What it can do.
    pub actions: Vec<Action>,
    /// Hosts that requests may go to.
    pub allowed_domains: Vec<HostPattern>,
    /// Ports besides 443.
    pub ports: Vec<u16>,
    /// Which redirects are followed.
    pub redirects: RedirectPolicy,
    /// Whether HTTP/2 is offered to upstreams.
    pub http2: bool,
}

/// A checked action.
#[derive(Debug, Clone)]
pub struct Action {
    /// Its id.
    pub id: ActionId,
    /// Name for people.
    pub name: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// Method.
    pub method: Method,
    /// URL template.
    pub url: UrlTemplate,
    /// Inputs.
    pub inputs: Vec<Input>,
    /// What the guest is given.
    pub plan: ActionPlan,
    /// [`Self::plan`] as JSON, encoded once.
    pub plan_json: String,
}

/// What checking a document gave.
#[derive(Debug)]
pub struct Checked {
    /// The connector, when there is no breach.
    pub connector: Option<Connector>,
    /// Breaches.
    pub errors: Vec<Problem>,
    /// What is legal but unwise.
    pub warnings: Vec<Problem>,
}

impl Connector {
    /// Reads and checks a definition document.
    #[must_use]
    pub fn parse(document: &Value, limits: &Limits) -> Checked {
        let mut errors = Vec::new();
        let mut warnings = Vec::new();
        let definition = definition::read(document, &mut errors);
        let connector = build(definition, limits, &mut errors, &mut warnings);
        let connector = if errors.is_empty() { connector } else { None };
        Checked { connector, errors, warnings }
    }

    /// The action of that id.
    #[must_use]
    pub fn action(&self, id: &str) -> Option<&Action> {
        self.actions.iter().find(|action| action.id.as_str() == id)
    }

    /// Whether a workspace must save something before the connector can be used.
    #[must_use]
    pub fn needs_configuration(&self) -> bool {
        self.injection.needs_credential() || self.fields.iter().any(|f| f.required)
    }
}

fn build(
    definition: Definition,
    limits: &Limits,
    errors: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> Option<Connector> {
    check_counts(&definition, limits, errors);
    let allowed_domains = check_domains(&definition, errors, warnings);
    let fields = auth::fields(&definition, errors);
    let injection = auth::injection(&definition, &fields, errors);
    let ports = definition.egress.ports.clone();
    let context = action::Context {
        definition: &definition,
        fields: &fields,
        allowed: &allowed_domains,
        ports: &ports,
        injected: injection.as_ref().map(Injection::header_names).unwrap_or_default(),
        needs_credential: injection.as_ref().is_some_and(Injection::needs_credential),
        injected_query: match &injection {
            Some(Injection::Query { name, .. }) => Some(name.clone()),
            _ => None,
        },
    };
    let mut actions: Vec<Action> = Vec::with_capacity(definition.actions.len());
    for (index, wire) in definition.actions.iter().enumerate() {
        let duplicate = definition.actions.iter().take(index).any(|a| a.action_id == wire.action_id);
        if duplicate {
            let message = format!("action_id {:?} is used twice", wire.action_id);
            errors.push(Problem::new(format!("/actions/{index}/action_id"), "duplicate_action", message));
        }
        actions.extend(action::build(&context, index, wire, errors, warnings));
    }
    Some(Connector {
        id: ConnectorId::parse(&definition.connector_id).ok()?,
        display_name: definition.display_name,
        description: definition.description,
        docs_url: definition.docs_url,
        enabled: definition.enabled,
        auth_type: definition.auth_type,
        fields,
        injection: injection?,
        actions,
        allowed_domains,
        ports,
        redirects: RedirectPolicy {
            follow: definition.egress.redirects.follow,
            hops_max: definition.egress.redirects.max.unwrap_or(REDIRECT_HOPS_MAX),
        },
        http2: definition.egress.http2,
    })
}

fn check_counts(definition: &Definition, limits: &Limits, errors: &mut Vec<Problem>) {
    let fields = definition.auth_schema.fields.len() + definition.config_fields.len();
    for (pointer, count, limit, what) in [
        ("/actions", definition.actions.len(), limits.actions_per_connector, "actions"),
        ("/allowed_domains", definition.allowed_domains.len(), limits.allowed_domains, "entries"),
        ("/auth_schema/fields", fields, limits.fields_per_form, "fields with config_fields"),
    ] {
        if count as u64 > limit {
            errors.push(Problem::new(
                pointer,
                "too_many",
                format!("has {count} {what}, the limit is {limit}"),
            ));
        }
    }
    for (index, action) in definition.actions.iter().enumerate() {
        let count = action.body_schema.len();
        if count as u64 > limits.inputs_per_action {
            let message = format!("has {count} inputs, the limit is {}", limits.inputs_per_action);
            errors.push(Problem::new(format!("/actions/{index}/body_schema"), "too_many", message));
        }
    }
}

fn check_domains(
    definition: &Definition,
    errors: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> Vec<HostPattern> {
    let entries = definition.allowed_domains.iter().map(String::as_str);
    let patterns = host_pattern::parse_list("/allowed_domains", entries, errors);
    warnings
        .extend(host_pattern::shared_hosting_warnings("/allowed_domains", definition.allowed_domains.iter()));
    patterns
}

/// Headers that a definition may not set: the host's, and the one the credential goes to.
fn check_header(name: &str, text: &str, pointer: &str, injected: &[String], errors: &mut Vec<Problem>) {
    use crate::header_rules::{HeaderRefusal, check_request_header};
    let message = match check_request_header(name, b"", injected) {
        Ok(()) => None,
        Err(HeaderRefusal::Injected) => Some("is where the credential goes"),
        Err(HeaderRefusal::Owned) => Some("belongs to the host"),
        Err(HeaderRefusal::Name | HeaderRefusal::Value) => Some("is not a header name"),
    };
    if let Some(why) = message {
        errors.push(Problem::new(pointer, "header_forbidden", format!("header {name:?} {why}")));
    }
    if HeaderName::from_bytes(name.as_bytes()).is_err() && message.is_none() {
        errors.push(Problem::new(
            pointer,
            "header_forbidden",
            format!("header {name:?} is not a header name"),
        ));
    }
    if let Err(e) = Template::parse(text) {
        errors.push(Problem::new(pointer, "template_invalid", e.to_string()));
    }
}

#[cfg(test)]
mod tests;
