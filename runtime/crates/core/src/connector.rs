//! A connector, valid by construction: what the runtime works with.
//!
//! [`Connector::parse`] is the only maker. It reads the wire form, applies every rule, and reports
//! every breach at once with a JSON pointer and a stable code; lint, validate and upload share it.
//! [`Connector::parse_bytes`] parses the text first, with the reader that refuses duplicate members.

use std::collections::BTreeSet;
use std::time::Duration;

use http::HeaderValue;
use portcullis_action::budget;
use portcullis_action::compile::Compiler;
use portcullis_action::retry::RetryPlan;
use portcullis_action::template::Template;
use portcullis_action::{ActionPlan, Method, UrlTemplate};
use serde_json::Value;

use crate::definition::{self, AuthType, Definition, OutputFieldDef, RedirectFollow, StatusDef, TlsCloseDef};
use crate::form::Field;
use crate::host_pattern::HostPattern;
use crate::id::{ActionId, ConnectorId};
use crate::input::Input;
use crate::json_position;
use crate::json_reader;
use crate::limits::Limits;
use crate::tables;
use crate::violation::{Violation, Violations, step};

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
mod report;
mod runtime;

pub use crate::definition::{BudgetScope, Effect};
pub(crate) use auth::members_of;
pub use auth::{Auth, ClientFields};
pub use methods::AuthMethod;
pub use place::steps;
use report::Report;
pub use runtime::Runtime;

/// The slot name under which a guest asks for a connector's credential.
pub const DEFAULT_SLOT: &str = "default";

/// The id of the authentication method that a definition's own `auth_type` makes.
pub const DEFAULT_METHOD: &str = "default";

/// Maximum redirects followed for one request; no known API needs more.
pub const REDIRECT_HOPS_MAX: u8 = 3;

/// Code of the warning that examples of a module's actions were not run, because the module was not at hand.
pub const MODULE_NOT_CHECKED: &str = "module_not_checked";

/// Which redirects are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedirectPolicy {
    pub follow: RedirectFollow,
    /// Maximum number of hops.
    pub hops_max: u8,
}

impl RedirectPolicy {
    /// The default: no redirect is followed.
    pub const NONE: Self = Self { follow: RedirectFollow::None, hops_max: 0 };
}

/// A checked connector, under one of its authentication methods.
#[derive(Debug, Clone)]
pub struct Connector {
    pub id: ConnectorId,
    pub display_name: String,
    /// Version of the definition, chosen by its author.
    pub version: Option<String>,
    /// Draft, beta or stable.
    pub status: StatusDef,
    pub deprecated: bool,
    pub description: Option<String>,
    pub docs_url: Option<String>,
    /// Link to help.
    pub support_url: Option<String>,
    /// Picture as a `data:` URL.
    pub icon: Option<String>,
    /// The kill switch, as uploaded.
    pub enabled: bool,
    pub auth_type: AuthType,
    /// Credential form and config fields together, in order.
    pub fields: Vec<Field>,
    /// Where the credential goes and how a token is obtained.
    pub auth: Auth,
    pub actions: Vec<Action>,
    pub test: Option<Test>,
    /// Requests that fill automated config fields.
    pub discover: Vec<Discovery>,
    /// Hosts that requests may go to.
    pub allowed_domains: Vec<HostPattern>,
    /// Ports besides 443.
    pub ports: Vec<u16>,
    pub redirects: RedirectPolicy,
    /// The custom module, and what it may do.
    pub runtime: Option<Runtime>,
    /// Whether HTTP/2 is offered to upstreams.
    pub http2: bool,
    /// Whether an answer without a length may end without `close_notify`.
    pub unclean_close: bool,
    /// What follows the product's own name in `User-Agent`.
    pub user_agent_suffix: Option<HeaderValue>,
    /// The other authentication methods, each with the connector it makes.
    pub methods: Vec<AuthMethod>,
}

/// A checked action.
#[derive(Debug, Clone)]
pub struct Action {
    pub id: ActionId,
    pub name: Option<String>,
    pub description: Option<String>,
    pub docs_url: Option<String>,
    pub deprecated: bool,
    /// Not offered when something new is made.
    pub hidden: bool,
    /// What it does at the third party.
    pub effect: Effect,
    /// Whether repeating the request has the same effect as sending it once.
    pub idempotent: bool,
    pub method: Method,
    pub url: UrlTemplate,
    /// Where the upstream may say that the next page is, besides `url`.
    pub page_urls: Vec<UrlTemplate>,
    /// How an answer that is not finished yet is asked for again.
    pub poll: Option<PollRules>,
    /// Whether the connector's module makes its requests; `method` and `url` are the first that it may make then.
    pub is_module: bool,
    pub inputs: Vec<Input>,
    /// Values that later steps can use.
    pub outputs: Vec<OutputFieldDef>,
    /// Scopes that a token must have.
    pub requires_scopes: Vec<String>,
    /// When a failed call is retried.
    pub retry: RetryPlan,
    pub budgets: Vec<Budget>,
    /// Limits below the platform's.
    pub limits: RequestLimits,
    /// The vendor's rules for idempotency keys, where one goes with the request.
    pub key: Option<KeyRules>,
    /// What the guest receives.
    pub plan: ActionPlan,
    /// [`Self::plan`] as JSON, encoded once.
    pub plan_json: String,
}

/// How an answer that is not finished yet is asked for again.
#[derive(Debug, Clone)]
pub struct PollRules {
    /// Between two requests.
    pub interval: Duration,
    /// For how long, if it is less than the time of the call.
    pub max: Option<Duration>,
    /// Where the upstream may say to ask; every path at the action's own host if empty.
    pub urls: Vec<UrlTemplate>,
}

/// Limits of one request, below the platform's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestLimits {
    /// Largest response body, bytes.
    pub response_bytes: Option<u64>,
    /// Longest request, milliseconds.
    pub timeout_ms: Option<u32>,
    /// Longest TCP connect, milliseconds.
    pub connect_timeout_ms: Option<u32>,
}

/// A vendor's rules for its idempotency keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRules {
    /// Longest key, characters.
    pub chars_max: u16,
    /// How long the vendor remembers a key, seconds: a repeat after that is a new request.
    pub ttl_s: Option<u32>,
}

/// A client-side budget: how often and how concurrently the vendor is called.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Distinguishes it from the connector's other budgets.
    pub id: String,
    /// Number of requests, and the period in milliseconds.
    pub requests: Option<(u32, u32)>,
    /// Maximum concurrent calls.
    pub concurrency: Option<u32>,
    pub scope: BudgetScope,
    /// Divides the budget: each rendered value has a budget for itself.
    pub key: Option<Template>,
}

/// The credential check.
#[derive(Debug, Clone)]
pub struct Test {
    pub action: Action,
    /// Pointer to the value in the answer that names the account.
    pub label: Option<String>,
}

/// A request that fills automated config fields.
#[derive(Debug, Clone)]
pub struct Discovery {
    pub action: Action,
    /// Config field name, and the pointer to its value in the answer.
    pub capture: Vec<(String, String)>,
}

/// The result of checking a document.
#[derive(Debug)]
pub struct Checked {
    /// The connector, if no rule is broken.
    pub connector: Option<Connector>,
    pub errors: Vec<Violation>,
    /// What is legal but unwise.
    pub warnings: Vec<Violation>,
}

impl Connector {
    /// Reads and checks the text of a definition.
    #[must_use]
    pub fn parse_bytes(text: &[u8], limits: &Limits) -> Checked {
        let text = json_position::without_mark(text);
        // Why: no upload can have more bytes, however few of them are not blanks.
        if let Some(too_long) = document::too_long(text, limits) {
            let errors = vec![Violation::new("", "too_large", too_long)];
            return Checked { connector: None, errors, warnings: Vec::new() };
        }
        match json_reader::read(text, limits) {
            Ok(document) => Self::parse(&document, limits),
            Err(error) => Checked { connector: None, errors: error.into_violations(), warnings: Vec::new() },
        }
    }

    /// Checks a definition document that is parsed already. The work is bounded by the limits: where a document asks
    /// for more, that is the violation.
    #[must_use]
    pub fn parse(document: &Value, limits: &Limits) -> Checked {
        let (mut errors, mut warnings) = (Violations::default(), Violations::default());
        let connector = check(document, limits, &mut errors, &mut warnings);
        let connector = connector.filter(|_| errors.is_empty());
        Checked { connector, errors: errors.into_vec(), warnings: warnings.into_vec() }
    }

    /// The module that serves one of its actions; `None` for an action of the product's own handler.
    #[must_use]
    pub fn module_of(&self, action: &Action) -> Option<&Runtime> {
        self.runtime.as_ref().filter(|_| action.is_module)
    }

    /// Why a document is too large to be a definition, whatever it says; an upload is refused for it before it is read.
    #[must_use]
    pub fn too_large(document: &Value, limits: &Limits) -> Option<String> {
        document::too_large(document, limits)
    }

    /// The action with that id.
    #[must_use]
    pub fn action(&self, id: &str) -> Option<&Action> {
        self.actions.iter().find(|action| action.id.as_str() == id)
    }

    /// The connector under the authentication method with that id; the connector itself for `None`.
    #[must_use]
    pub fn under(&self, method: Option<&str>) -> &Self {
        let chosen = method.and_then(|id| self.methods.iter().find(|m| m.id == id));
        chosen.map_or(self, |method| &method.connector)
    }

    /// Whether a person has to consent at the third party before there is a token.
    #[must_use]
    pub fn asks_for_consent(&self) -> bool {
        self.auth.token.as_ref().is_some_and(|plan| plan.consent.is_some())
    }

    /// Whether there is an authentication method with that id.
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

/// Checks a document; `None` if it is so wrong that nothing can be built.
fn check(
    document: &Value,
    limits: &Limits,
    errors: &mut Violations,
    warnings: &mut Violations,
) -> Option<Connector> {
    if let Some(too_large) = document::too_large(document, limits) {
        errors.push(Violation::new("", "too_large", too_large));
        return None;
    }
    let definition = definition::read(document, errors)?;
    if !document::check(document, &definition, limits, errors, warnings) {
        return None;
    }
    let mut compiler = Compiler::new(limits.compiling());
    let budget = budget::Budget::named(limits.definition_check_bytes, "limits.definition_check_bytes");
    let mut report = Report {
        errors,
        warnings,
        compiler: &mut compiler,
        budget: &budget,
        lookups: BTreeSet::new(),
        tables_used: BTreeSet::new(),
    };
    let connector = build(&definition, limits, &mut report);
    let others = methods::build_all(&definition, limits, &mut report);
    let mut connector = connector?;
    connector.methods = others;
    for name in definition.tables.keys().filter(|name| !report.tables_used.contains(*name)) {
        let pointer = format!("/tables/{}", step(name));
        report.warnings.push(Violation::new(pointer, "table_unused", "no filter looks into this table"));
    }
    if report.errors.is_empty() {
        examples::check(&definition, &connector, &mut report);
    }
    Some(connector)
}

/// Builds a connector under its default authentication method.
fn build(definition: &Definition, limits: &Limits, report: &mut Report<'_>) -> Option<Connector> {
    let allowed_domains = reach::domains(definition, report.errors, report.warnings);
    let reach = reach::Reach::new(definition, &allowed_domains);
    let tables = tables::checked(&definition.tables, limits, report.errors);
    let fields = fields::fields(definition, &tables, report);
    // Why: with an unknown auth_type, every member of auth would be reported as unread.
    let auth_type_known = !report.errors.iter().any(|p| p.pointer == "/auth_type");
    let auth = if auth_type_known { auth::build(definition, &fields, reach, report) } else { None };
    let none = Auth::default();
    let injection = &auth.as_ref().unwrap_or(&none).injection;
    let context = action::Context {
        definition,
        fields: &fields,
        reach,
        base: base::check(definition, &fields, reach, report.errors),
        runtime: None,
        injection,
        injected: injection.header_names(),
        shared_errors: action::shared_errors(definition, report),
        shared_keys: action::shared_keys(definition, report),
        tables: &tables,
        inputs: action::input_names(definition),
        rendered_bytes: limits.guest_rendered_bytes(),
    };
    let runtime = runtime::build(definition, &fields, reach, &context.base, report);
    let context = action::Context { runtime: runtime.as_ref(), ..context };
    let mut actions: Vec<Action> = Vec::with_capacity(definition.actions.len());
    let mut ids = BTreeSet::new();
    for (index, wire) in definition.actions.iter().enumerate() {
        let pointer = format!("/actions/{index}");
        if !ids.insert(&wire.action_id) {
            let message = format!("action_id {:?} is used twice", wire.action_id);
            report.error(format!("{pointer}/action_id"), "duplicate_action", message);
        }
        actions.extend(action::build(&context, &pointer, wire, report));
    }
    let test = errand::test(&context, report);
    let discover = errand::discoveries(&context, report);
    let user_agent_suffix = user_agent_suffix(definition, report);
    Some(Connector {
        id: ConnectorId::parse(&definition.connector_id).ok()?,
        display_name: definition.display_name.clone(),
        version: definition.version.clone(),
        status: definition.status,
        deprecated: definition.deprecated.is_some(),
        description: definition.description.clone(),
        docs_url: definition.docs_url.clone(),
        support_url: definition.support_url.clone(),
        icon: definition.icon.clone(),
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
        unclean_close: definition.egress.tls_close == TlsCloseDef::Lenient,
        user_agent_suffix,
        runtime,
        methods: Vec::new(),
        auth: auth?,
        fields,
        allowed_domains,
    })
}

fn user_agent_suffix(definition: &Definition, report: &mut Report<'_>) -> Option<HeaderValue> {
    let written = definition.user_agent_suffix.as_ref()?;
    let plain = written.trim() == written && written.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let value = HeaderValue::from_str(written).ok().filter(|_| plain);
    if value.is_none() {
        let message = "is printable ASCII without a blank at either end";
        report.error("/user_agent_suffix", "user_agent_invalid", message);
    }
    value
}

#[cfg(test)]
mod tests;
