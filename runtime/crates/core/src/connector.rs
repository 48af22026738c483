//! A connector, valid by construction: what the runtime works with.
//!
//! [`Connector::parse`] is the only maker. It reads the wire form, applies every rule, and reports
//! every breach at once with a JSON pointer and a stable code; lint, validate and upload share it.
//! [`Connector::parse_bytes`] reads the text before, with the reader that refuses members that stand twice.

use portcullis_action::retry::RetryPlan;
use portcullis_action::template::Template;
use portcullis_action::{ActionPlan, Method, UrlTemplate};
use serde_json::Value;

use crate::definition::{self, AuthType, Definition, OutputFieldDef, RedirectFollow, StatusDef};
use crate::form::Field;
use crate::host_pattern::HostPattern;
use crate::id::{ActionId, ConnectorId};
use crate::input::Input;
use crate::json_reader;
use crate::limits::Limits;
use crate::violation::Violation;

mod action;
mod auth;
mod base;
mod document;
mod errand;
mod examples;
mod fields;
mod methods;
mod place;
mod reach;

pub use crate::definition::{BudgetScope, Effect};
pub use auth::Auth;
pub use methods::AuthMethod;
pub use place::steps;

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

/// A checked connector, under one of its ways to authenticate.
#[derive(Debug, Clone)]
pub struct Connector {
    /// Its id.
    pub id: ConnectorId,
    /// Name for people.
    pub display_name: String,
    /// Version of the definition, for people.
    pub version: Option<String>,
    /// How far it has come.
    pub status: StatusDef,
    /// Whether it should not be used for anything new.
    pub deprecated: bool,
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
    /// Where the credential goes and how a token is got.
    pub auth: Auth,
    /// What it can do.
    pub actions: Vec<Action>,
    /// The credential check.
    pub test: Option<Test>,
    /// What fills automated config fields.
    pub discover: Vec<Discovery>,
    /// Hosts that requests may go to.
    pub allowed_domains: Vec<HostPattern>,
    /// Ports besides 443.
    pub ports: Vec<u16>,
    /// Which redirects are followed.
    pub redirects: RedirectPolicy,
    /// Whether HTTP/2 is offered to upstreams.
    pub http2: bool,
    /// The other ways to authenticate, each a connector of its own.
    pub methods: Vec<AuthMethod>,
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
    /// Where it is documented.
    pub docs_url: Option<String>,
    /// Whether it should not be used for anything new.
    pub deprecated: bool,
    /// Whether it is not offered when something new is made.
    pub hidden: bool,
    /// What it does to the other side.
    pub effect: Effect,
    /// Whether doing it twice is doing it once.
    pub idempotent: bool,
    /// Method.
    pub method: Method,
    /// URL template.
    pub url: UrlTemplate,
    /// Inputs.
    pub inputs: Vec<Input>,
    /// What later steps can use.
    pub outputs: Vec<OutputFieldDef>,
    /// Scopes that a token must have.
    pub requires_scopes: Vec<String>,
    /// When a failed call is tried again.
    pub retry: RetryPlan,
    /// Client-side budgets.
    pub budgets: Vec<Budget>,
    /// Lower limits.
    pub limits: RequestLimits,
    /// What the vendor says of idempotency keys, where one goes with the request.
    pub key: Option<KeyRules>,
    /// What the guest is given.
    pub plan: ActionPlan,
    /// [`Self::plan`] as JSON, encoded once.
    pub plan_json: String,
}

/// Lower limits of one request than the platform's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestLimits {
    /// Largest answer, bytes.
    pub response_bytes: Option<u64>,
    /// Longest request, milliseconds.
    pub timeout_ms: Option<u32>,
    /// Longest TCP connect, milliseconds.
    pub connect_timeout_ms: Option<u32>,
}

/// What a vendor says of its idempotency keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRules {
    /// Longest key, characters.
    pub chars_max: u16,
    /// How long a key is remembered, seconds: a repeat after that is a new request.
    pub ttl_s: Option<u32>,
}

/// A client-side budget.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Tells it from the connector's other budgets.
    pub id: String,
    /// Requests per so many milliseconds.
    pub requests: Option<(u32, u32)>,
    /// Most calls at a time.
    pub concurrency: Option<u32>,
    /// Who shares it.
    pub scope: BudgetScope,
    /// What parts it further.
    pub key: Option<Template>,
}

/// The credential check.
#[derive(Debug, Clone)]
pub struct Test {
    /// Its request.
    pub action: Action,
    /// Pointer of what names the account.
    pub label: Option<String>,
}

/// What fills automated config fields.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// Its request.
    pub action: Action,
    /// Name of a config field to the pointer of its value.
    pub capture: Vec<(String, String)>,
}

/// What checking a document gave.
#[derive(Debug)]
pub struct Checked {
    /// The connector, when there is no breach.
    pub connector: Option<Connector>,
    /// Violationes.
    pub errors: Vec<Violation>,
    /// What is legal but unwise.
    pub warnings: Vec<Violation>,
}

impl Connector {
    /// Reads and checks the text of a definition.
    #[must_use]
    pub fn parse_bytes(text: &[u8], limits: &Limits) -> Checked {
        match json_reader::read(text, limits) {
            Ok(document) => Self::parse(&document, limits),
            Err(error) => Checked { connector: None, errors: error.into_violations(), warnings: Vec::new() },
        }
    }

    /// Checks a definition document that was read already.
    #[must_use]
    pub fn parse(document: &Value, limits: &Limits) -> Checked {
        let mut errors = Vec::new();
        let mut warnings = Vec::new();
        let definition = definition::read(document, &mut errors);
        document::check(&definition, limits, &mut errors, &mut warnings);
        let mut connector = build(&definition, &mut errors, &mut warnings);
        let others = methods::build_all(&definition, &mut errors, &mut warnings);
        if let Some(connector) = &mut connector {
            connector.methods = others;
            if errors.is_empty() {
                examples::check(&definition, connector, &mut errors, &mut warnings);
            }
        }
        // Why: what a definition says once for all is looked at once for each action.
        document::once(&mut errors);
        document::once(&mut warnings);
        let connector = if errors.is_empty() { connector } else { None };
        Checked { connector, errors, warnings }
    }

    /// The action of that id.
    #[must_use]
    pub fn action(&self, id: &str) -> Option<&Action> {
        self.actions.iter().find(|action| action.id.as_str() == id)
    }

    /// The connector under the way to authenticate of that id; itself for none.
    #[must_use]
    pub fn under(&self, method: Option<&str>) -> &Self {
        let chosen = method.and_then(|id| self.methods.iter().find(|m| m.id == id));
        chosen.map_or(self, |method| &method.connector)
    }

    /// Whether there is a way to authenticate of that id.
    #[must_use]
    pub fn has_method(&self, id: &str) -> bool {
        self.methods.iter().any(|method| method.id == id)
    }

    /// Whether a workspace must save something before the connector can be used.
    #[must_use]
    pub fn needs_configuration(&self) -> bool {
        self.auth.injection.needs_credential() || self.fields.iter().any(|f| f.required)
    }
}

/// Builds a connector under its default way to authenticate.
fn build(
    definition: &Definition,
    errors: &mut Vec<Violation>,
    warnings: &mut Vec<Violation>,
) -> Option<Connector> {
    let allowed_domains = reach::domains(definition, errors, warnings);
    let reach = reach::Reach::new(definition, &allowed_domains);
    let fields = fields::fields(definition, errors);
    // Why: under an auth_type that is none, every member of auth would be reported as unread.
    let auth_type_known = !errors.iter().any(|p| p.pointer == "/auth_type");
    let auth = if auth_type_known { auth::build(definition, &fields, reach, errors) } else { None };
    let none = Auth::default();
    let injection = &auth.as_ref().unwrap_or(&none).injection;
    let context = action::Context {
        definition,
        fields: &fields,
        reach,
        base: base::check(definition, &fields, reach, errors),
        injection,
        injected: injection.header_names(),
    };
    let mut report = action::Report { errors, warnings };
    let mut actions: Vec<Action> = Vec::with_capacity(definition.actions.len());
    for (index, wire) in definition.actions.iter().enumerate() {
        let pointer = format!("/actions/{index}");
        if definition.actions.iter().take(index).any(|a| a.action_id == wire.action_id) {
            let message = format!("action_id {:?} is used twice", wire.action_id);
            report.errors.push(Violation::new(format!("{pointer}/action_id"), "duplicate_action", message));
        }
        actions.extend(action::build(&context, &pointer, wire, &mut report));
    }
    let test = errand::test(&context, &mut report);
    let discover = errand::discoveries(&context, &mut report);
    Some(Connector {
        id: ConnectorId::parse(&definition.connector_id).ok()?,
        display_name: definition.display_name.clone(),
        version: definition.version.clone(),
        status: definition.status,
        deprecated: definition.deprecated.is_some(),
        description: definition.description.clone(),
        docs_url: definition.docs_url.clone(),
        enabled: definition.enabled,
        auth_type: definition.auth_type,
        actions,
        test,
        discover,
        ports: definition.egress.ports.clone(),
        redirects: RedirectPolicy {
            follow: definition.egress.redirects.follow,
            hops_max: definition.egress.redirects.max.unwrap_or(REDIRECT_HOPS_MAX),
        },
        http2: definition.egress.http2,
        methods: Vec::new(),
        auth: auth?,
        fields,
        allowed_domains,
    })
}

#[cfg(test)]
mod tests;
