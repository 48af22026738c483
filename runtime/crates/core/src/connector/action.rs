//! From one action of the definition to a checked action and the plan its guest receives.

use std::collections::{BTreeMap, HashSet};

use http::HeaderName;
use portcullis_action::plan::ErrorRule;
use portcullis_action::template::{Part, Scope, Tables, Template, Variable, tables_of};
use portcullis_action::{ActionPlan, InputPlace, Method, UrlTemplate};

use super::base::Base;
use super::reach::Reach;
pub(super) use super::report::Report;
use super::{Action, DEFAULT_SLOT, Effect, Runtime};
use crate::definition::{ActionDef, Definition, HandlerDef};
use crate::form::Field;
use crate::header_rules::{HeaderRefusal, check_request_header};
use crate::id::ActionId;
use crate::injection::Injection;
use crate::input::Input;
use crate::tables;
use crate::violation::step;

mod behaviour;
mod body;
mod budgets;
mod credential;
mod inputs;
mod module;
mod pagination;
mod poll;
mod retry;
mod rules;

pub(super) use behaviour::shared_errors;
pub(super) use budgets::shared_keys;

/// What an action is checked against.
pub(super) struct Context<'a> {
    pub(super) definition: &'a Definition,
    pub(super) fields: &'a [Field],
    pub(super) reach: Reach<'a>,
    pub(super) base: Base,
    /// The custom module.
    pub(super) runtime: Option<&'a Runtime>,
    pub(super) injection: &'a Injection,
    /// Names of the headers that injection sets.
    pub(super) injected: Vec<&'a str>,
    /// The definition's error rules, checked once.
    pub(super) shared_errors: Vec<ErrorRule>,
    /// The keys of the definition's budgets, parsed once.
    pub(super) shared_keys: Vec<Option<Template>>,
    /// What `lookup` filters look into.
    pub(super) tables: &'a Tables,
    /// Names of the inputs of all actions.
    pub(super) inputs: HashSet<&'a str>,
    /// What a guest may make for one request, if it is not the default.
    pub(super) rendered_bytes: Option<u64>,
}

impl Context<'_> {
    /// Whether the credential goes into the query pair with this name.
    fn takes_query(&self, name: &str) -> bool {
        self.injection.takes_query(name)
    }

    /// The tables that the templates and transforms of the action being checked look into.
    fn looked_up(&self, report: &Report<'_>) -> Tables {
        let named = self.tables.iter().filter(|(name, _)| report.lookups.contains(*name));
        named.map(|(name, table)| (name.clone(), table.clone())).collect()
    }
}

/// A name in a URL's query, percent-decoded.
pub(super) fn decoded(name: &str) -> String {
    url::form_urlencoded::parse(name.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

/// The names of all actions' inputs.
pub(super) fn input_names(definition: &Definition) -> HashSet<&str> {
    let inputs = definition.actions.iter().flat_map(|action| &action.body_schema);
    inputs.map(|input| input.name.as_str()).collect()
}

/// Checks one action; `None` after an error that leaves nothing to build.
pub(super) fn build(
    context: &Context<'_>,
    pointer: &str,
    wire: &ActionDef,
    report: &mut Report<'_>,
) -> Option<Action> {
    report.lookups.clear();
    if wire.handler == HandlerDef::Module {
        return module::build(context, pointer, wire, report);
    }
    let url_text = full_url(context, wire, pointer, report);
    let url = url_text.as_ref().and_then(|text| check_url(context, wire, text, pointer, report));
    let method = required_method(wire, pointer, report);
    let headers = check_headers(context, wire, pointer, report);
    let pairs = url.as_ref().map(rules::pair_names).unwrap_or_default();
    let query = check_query(context, wire, &pairs, pointer, report);
    let (body, content_type) = body::build(context, wire, method, pointer, report);
    let named = named_inputs(url.as_ref(), &headers, &query, &body);
    let (inputs, plans) = inputs::build(context, wire, method, &named, &body, pointer, report);
    inputs::check_url_inputs(context, url.as_ref(), &inputs, pointer, report);
    let mut response = behaviour::response(wire, pointer, report);
    let poll = poll::build(wire, &mut response, pointer, report);
    let plan = ActionPlan {
        action_id: wire.action_id.clone(),
        method,
        url: url_text.unwrap_or_default(),
        query,
        headers,
        inputs: plans,
        body,
        content_type,
        idempotency: behaviour::idempotency(wire, pointer, report),
        reads: method == Method::Post && effect(wire, method) == Effect::Read,
        credential: context.injection.needs_credential().then(|| DEFAULT_SLOT.to_owned()),
        success: behaviour::success(wire, pointer, report),
        response,
        errors: behaviour::errors(context, wire, pointer, report),
        pagination: pagination::build(context.definition, wire, pointer, report),
        poll,
        tables: context.looked_up(report),
        rendered_bytes: context.rendered_bytes,
    };
    rules::check(context, wire, &pairs, &plan, pointer, report);
    credential::check(context, wire, &plan, pointer, report);
    let page_urls = pagination::page_urls(context, wire, url.as_ref(), pointer, report);
    let poll = poll::rules(context, wire, url.as_ref(), pointer, report);
    let plan_json = serde_json::to_string(&plan).ok()?;
    let own = Own {
        effect: effect(wire, method),
        idempotent: method.is_idempotent(),
        method,
        url: url?,
        inputs,
        plan,
        plan_json,
    };
    let action = whole(context, wire, own, pointer, report)?;
    Some(Action { page_urls, poll, key: behaviour::key_rules(wire), ..action })
}

/// What an action has that differs between those of the product's handler and those of a module.
struct Own {
    effect: Effect,
    /// Whether it may be repeated, where the definition does not say.
    idempotent: bool,
    method: Method,
    url: UrlTemplate,
    inputs: Vec<Input>,
    plan: ActionPlan,
    plan_json: String,
}

/// The action with what all actions have, and without what only the product's handler does.
fn whole(
    context: &Context<'_>,
    wire: &ActionDef,
    own: Own,
    pointer: &str,
    report: &mut Report<'_>,
) -> Option<Action> {
    let Own { effect, idempotent, method, url, inputs, plan, plan_json } = own;
    Some(Action {
        id: ActionId::parse(&wire.action_id).ok()?,
        name: wire.name.clone(),
        description: wire.description.clone(),
        docs_url: wire.docs_url.clone(),
        deprecated: wire.deprecated.is_some(),
        hidden: wire.hidden,
        effect,
        idempotent: wire.idempotent.unwrap_or(idempotent),
        method,
        url,
        page_urls: Vec::new(),
        poll: None,
        is_module: wire.handler == HandlerDef::Module,
        inputs,
        outputs: wire.response.iter().flat_map(|r| r.fields.iter().cloned()).collect(),
        requires_scopes: wire.requires_scopes.clone(),
        retry: retry::build(context.definition, wire, pointer, report),
        budgets: budgets::build(context, wire, pointer, report),
        limits: behaviour::limits(context.definition, wire),
        key: None,
        plan,
        plan_json,
    })
}

/// Reports a member that is not there, unless what stands there was refused already.
fn missing(at: &str, message: &str, report: &mut Report<'_>) {
    if !report.errors.iter().any(|found| found.pointer == at) {
        report.error(at, "missing_field", message);
    }
}

/// The method, which only a module's action leaves out.
fn required_method(wire: &ActionDef, pointer: &str, report: &mut Report<'_>) -> Method {
    if wire.http_method.is_none() {
        missing(&format!("{pointer}/http_method"), "http_method is required", report);
    }
    wire.http_method.unwrap_or_default()
}

const fn effect(wire: &ActionDef, method: Method) -> Effect {
    match (wire.effect, method) {
        (Some(effect), _) => effect,
        (None, Method::Delete) => Effect::Delete,
        (None, Method::Get | Method::Head | Method::Options) => Effect::Read,
        (None, _) => Effect::Write,
    }
}

/// The URL template, joined to `base_url` when it begins with `/`.
fn full_url(
    context: &Context<'_>,
    wire: &ActionDef,
    pointer: &str,
    report: &mut Report<'_>,
) -> Option<String> {
    let Some(written) = &wire.url_template else {
        missing(&format!("{pointer}/url_template"), "url_template is required", report);
        return None;
    };
    if !written.starts_with('/') {
        return Some(written.clone());
    }
    match &context.base {
        Base::Sound(base) => Some(format!("{base}{written}")),
        Base::Unsound => None,
        Base::Absent => {
            let message = "begins with / but the definition has no base_url";
            report.error(format!("{pointer}/url_template"), "base_url_missing", message);
            None
        }
    }
}

fn check_url(
    context: &Context<'_>,
    wire: &ActionDef,
    text: &str,
    pointer: &str,
    report: &mut Report<'_>,
) -> Option<UrlTemplate> {
    let pointer = format!("{pointer}/url_template");
    let url = match UrlTemplate::parse(text) {
        Ok(url) => url,
        Err(e) => {
            report.error(pointer, "template_invalid", e.to_string());
            return None;
        }
    };
    for variable in url.variables() {
        check_variable(context, wire, variable, &pointer, report);
    }
    // Why not of the connection: what a request may reach is settled before any table is at hand.
    let settled = url.required_variables().filter(|variable| variable.scope != Scope::Input);
    if settled.flat_map(|variable| tables_of(&variable.filters)).next().is_some() {
        report.error(&pointer, "lookup_misplaced", tables::NOT_HERE);
    }
    context.reach.check(&url, &pointer, report.errors);
    for (name, _) in &url.query {
        if name.as_literal().is_some_and(|name| context.takes_query(&decoded(name))) {
            report.error(&pointer, "query_forbidden", "the query has the pair where the credential goes");
        }
    }
    Some(url)
}

/// Checks that a variable exists and may be used in an action.
pub(super) fn check_variable(
    context: &Context<'_>,
    wire: &ActionDef,
    variable: &Variable,
    pointer: &str,
    report: &mut Report<'_>,
) {
    report.lookups(&variable.filters, context.tables, pointer);
    let message = match variable.scope {
        Scope::Action | Scope::Run | Scope::Now => return,
        Scope::Input => {
            let first = variable.name.split('.').next().unwrap_or_default();
            if wire.body_schema.iter().any(|i| i.name == variable.name || i.name == first) {
                return;
            }
            format!("{variable} is not an input of this action; add it to body_schema")
        }
        Scope::Config => match context.fields.iter().find(|f| f.name == variable.name) {
            Some(field) if !field.secret => return,
            Some(_) => {
                format!("{variable} is a secret; secrets never stand in a URL, a header or a body template")
            }
            None => format!("{variable} is not a field of this connector; add it to config_fields"),
        },
        Scope::Cred => format!("{variable}: cred.* is legal in auth only; a guest never sees a credential"),
        Scope::Source => format!("{variable}: source.* is legal in an automation's field_mapping only"),
        // Why never: only a mapping makes them.
        Scope::Entry => format!("{variable} is the entry of a list in an automation's field_mapping"),
        Scope::Sign | Scope::Jwt => format!("{variable}: {}.* is legal in auth only", variable.scope.word()),
    };
    report.error(pointer, "template_unknown_variable", message);
}

/// Parses a template and checks its variables.
pub(super) fn check_template(
    context: &Context<'_>,
    wire: &ActionDef,
    text: &str,
    pointer: &str,
    report: &mut Report<'_>,
) -> Option<Template> {
    match Template::parse_text(text) {
        Ok(template) => {
            for variable in template.variables() {
                check_variable(context, wire, variable, pointer, report);
            }
            Some(template)
        }
        Err(e) => {
            report.error(pointer, "template_invalid", e.to_string());
            None
        }
    }
}

/// Default entries merged with the action's own, which win, each with its pointer.
fn merged<'a>(
    defaults: (&'a BTreeMap<String, String>, &str),
    own: (&'a BTreeMap<String, String>, String),
    same: impl Fn(&str, &str) -> bool,
) -> Vec<(String, &'a String, &'a String)> {
    let kept = defaults
        .0
        .iter()
        .filter(|(name, _)| !own.0.keys().any(|n| same(n, name)))
        .map(|(name, text)| (format!("{}/{}", defaults.1, step(name)), name, text));
    kept.chain(own.0.iter().map(|(name, text)| (format!("{}/{}", own.1, step(name)), name, text))).collect()
}

fn check_headers(
    context: &Context<'_>,
    wire: &ActionDef,
    pointer: &str,
    report: &mut Report<'_>,
) -> Vec<(String, String)> {
    let defaults = (&context.definition.default_headers, "/default_headers");
    let own = (&wire.headers, format!("{pointer}/headers"));
    let mut headers: Vec<(String, String)> = Vec::new();
    for (at, name, text) in merged(defaults, own, str::eq_ignore_ascii_case) {
        check_header(name, &at, &context.injected, report);
        if headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            report.error(&at, "duplicate_header", format!("{name:?} is written twice, in another spelling"));
        }
        if let Some(template) = check_template(context, wire, text, &at, report)
            && template
                .parts
                .iter()
                .any(|part| matches!(part, Part::Literal(text) if text.chars().any(char::is_control)))
        {
            report.error(&at, "header_value_invalid", "has a control character, such as a line break");
        }
        headers.push((name.clone(), text.clone()));
    }
    headers
}

/// Headers that a definition may not set: the host's, and the one the credential goes to.
pub(super) fn check_header(name: &str, pointer: &str, injected: &[&str], report: &mut Report<'_>) {
    let why = match check_request_header(name, b"", injected) {
        Ok(()) if HeaderName::from_bytes(name.as_bytes()).is_ok() => return,
        Err(HeaderRefusal::Injected) => "is where the credential goes",
        Err(HeaderRefusal::Owned) => "belongs to the host",
        _ => "is not a header name",
    };
    report.error(pointer, "header_forbidden", format!("header {name:?} {why}"));
}

fn check_query(
    context: &Context<'_>,
    wire: &ActionDef,
    pairs: &HashSet<String>,
    pointer: &str,
    report: &mut Report<'_>,
) -> Vec<(String, String)> {
    let defaults = (&context.definition.default_query, "/default_query");
    let own = (&wire.query, format!("{pointer}/query"));
    let mut query = Vec::new();
    for (at, name, text) in merged(defaults, own, |a, b| a == b) {
        if context.takes_query(name) {
            let message = format!("query pair {name:?} is where the credential goes");
            report.error(&at, "query_forbidden", message);
        }
        check_template(context, wire, text, &at, report);
        let in_url = pairs.contains(name);
        if in_url && wire.query.contains_key(name) {
            report.error(&at, "duplicate_query", format!("url_template has {name:?}, too"));
        } else if !in_url {
            query.push((name.clone(), text.clone()));
        }
    }
    query
}

/// Inputs that a template uses: they go nowhere else.
fn named_inputs(
    url: Option<&UrlTemplate>,
    headers: &[(String, String)],
    query: &[(String, String)],
    body: &portcullis_action::BodyPlan,
) -> HashSet<String> {
    let mut names = HashSet::new();
    let mut note = |variable: &Variable| {
        if variable.scope == Scope::Input {
            names.insert(variable.name.clone());
            names.extend(variable.name.split_once('.').map(|(first, _)| first.to_owned()));
        }
    };
    url.iter().flat_map(|url| url.variables()).for_each(&mut note);
    let texts = headers.iter().chain(query).map(|(_, text)| text.as_str());
    for text in texts.chain(body::texts(body)) {
        if let Ok(template) = Template::parse_text(text) {
            template.variables().for_each(&mut note);
        }
    }
    names
}

/// The default position of an input: where a template uses it, otherwise by method.
pub(super) const fn default_place(method: Method, named: bool) -> InputPlace {
    match (named, method.has_body()) {
        (true, _) => InputPlace::Path,
        (false, true) => InputPlace::Body,
        (false, false) => InputPlace::Query,
    }
}
