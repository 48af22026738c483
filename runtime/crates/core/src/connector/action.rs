//! From one action of the definition to a checked action and the plan its guest is given.

use portcullis_action::template::{Scope, Template, Variable};
use portcullis_action::{ActionPlan, BodyPlan, InputPlace, InputPlan, Method, UrlTemplate};

use super::{Action, DEFAULT_SLOT, check_header};
use crate::definition::{ActionDef, Definition, InputDef, InputIn, InputType, MethodDef};
use crate::host_pattern::HostPattern;
use crate::id::ActionId;
use crate::input::{Field, Input};
use crate::problem::Problem;
use crate::target::DEFAULT_PORT;

/// What an action is checked against.
pub(super) struct Context<'a> {
    pub(super) definition: &'a Definition,
    pub(super) fields: &'a [Field],
    pub(super) allowed: &'a [HostPattern],
    pub(super) ports: &'a [u16],
    pub(super) injected: Vec<String>,
    pub(super) needs_credential: bool,
    pub(super) injected_query: Option<String>,
}

impl Context<'_> {
    fn injects_query(&self, name: &str) -> bool {
        self.injected_query.as_deref().is_some_and(|injected| injected.eq_ignore_ascii_case(name))
    }
}

const fn method(wire: MethodDef) -> Method {
    match wire {
        MethodDef::Get => Method::Get,
        MethodDef::Head => Method::Head,
        MethodDef::Post => Method::Post,
        MethodDef::Put => Method::Put,
        MethodDef::Patch => Method::Patch,
        MethodDef::Delete => Method::Delete,
        MethodDef::Options => Method::Options,
    }
}

/// Checks one action; `None` after an error that leaves nothing to build.
pub(super) fn build(
    context: &Context<'_>,
    index: usize,
    wire: &ActionDef,
    errors: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> Option<Action> {
    let pointer = format!("/actions/{index}");
    let url = check_url(context, wire, &pointer, errors, warnings);
    let method = method(wire.http_method);
    let named: Vec<String> = url
        .iter()
        .flat_map(UrlTemplate::variables)
        .filter(|v| v.scope == Scope::Input)
        .map(|v| v.name.clone())
        .collect();
    let mut inputs = Vec::new();
    let mut plans = Vec::new();
    for (at, input) in wire.body_schema.iter().enumerate() {
        let pointer = format!("{pointer}/body_schema/{at}");
        if wire.body_schema.iter().take(at).any(|other| other.name == input.name) {
            let message = format!("input {:?} is used twice", input.name);
            errors.push(Problem::new(format!("{pointer}/name"), "duplicate_input", message));
        }
        let place = place(input, method, named.contains(&input.name), &pointer, errors);
        check_place(context, input, place, method, &pointer, errors);
        inputs.push(checked_input(input, &pointer, errors));
        plans.push(InputPlan { name: input.name.clone(), wire: input.r#as.clone(), place });
    }
    let headers = check_headers(context, wire, &pointer, errors);
    let has_body = method.has_body();
    let plan = ActionPlan {
        action_id: wire.action_id.clone(),
        method,
        url: wire.url_template.clone(),
        headers,
        inputs: plans,
        body: if has_body { BodyPlan::Json } else { BodyPlan::None },
        credential: context.needs_credential.then(|| DEFAULT_SLOT.to_owned()),
    };
    let plan_json = serde_json::to_string(&plan).ok()?;
    Some(Action {
        id: ActionId::parse(&wire.action_id).ok()?,
        name: wire.name.clone(),
        description: wire.description.clone(),
        method,
        url: url?,
        inputs,
        plan,
        plan_json,
    })
}

fn check_url(
    context: &Context<'_>,
    wire: &ActionDef,
    pointer: &str,
    errors: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> Option<UrlTemplate> {
    let pointer = format!("{pointer}/url_template");
    let url = match UrlTemplate::parse(&wire.url_template) {
        Ok(url) => url,
        Err(e) => {
            errors.push(Problem::new(pointer, "template_invalid", e.to_string()));
            return None;
        }
    };
    for variable in url.variables() {
        check_variable(context, wire, variable, &pointer, errors);
    }
    // Why only when every entry was sound: a broken entry would be reported twice.
    let all_sound = context.allowed.len() == context.definition.allowed_domains.len();
    if all_sound && !context.allowed.iter().any(|pattern| pattern.covers(&url)) {
        let list: Vec<String> = context.allowed.iter().map(ToString::to_string).collect();
        let message = format!(
            "host {} is not inside allowed_domains ({}) for every value",
            url.host_text(),
            list.join(", ")
        );
        errors.push(Problem::new(&pointer, "template_host_outside_allowed_domains", message));
    }
    let port = url.port.unwrap_or(DEFAULT_PORT);
    if port != DEFAULT_PORT && !context.ports.contains(&port) {
        let message = format!("port {port} is not in egress.ports");
        errors.push(Problem::new(&pointer, "port_not_listed", message));
    }
    let chosen_by_input = url.host.iter().flat_map(|l| l.parts()).any(
        |part| matches!(part, portcullis_action::template::Part::Variable(v) if v.scope == Scope::Input),
    );
    if chosen_by_input && context.needs_credential {
        let message = "an input chooses the host that receives the credential; a config field would pin it";
        warnings.push(Problem::new(&pointer, "host_chosen_by_input", message));
    }
    for variable in url.required_variables().filter(|v| v.scope == Scope::Input) {
        let optional =
            wire.body_schema.iter().any(|i| i.name == variable.name && !i.required && i.default.is_none());
        if optional {
            let message =
                format!("{variable} is in the path but its input is optional; a call without it fails");
            warnings.push(Problem::new(&pointer, "path_input_optional", message));
        }
    }
    Some(url)
}

fn check_variable(
    context: &Context<'_>,
    wire: &ActionDef,
    variable: &Variable,
    pointer: &str,
    errors: &mut Vec<Problem>,
) {
    let message = match variable.scope {
        Scope::Action | Scope::Run => return,
        Scope::Input if wire.body_schema.iter().any(|i| i.name == variable.name) => return,
        Scope::Input => format!("{variable} is not an input of this action; add it to body_schema"),
        Scope::Config => match context.fields.iter().find(|f| f.name == variable.name) {
            Some(field) if !field.secret => return,
            Some(_) => {
                format!("{variable} is a secret; secrets never stand in a URL or header template")
            }
            None => format!("{variable} is not a field of this connector"),
        },
        Scope::Cred => format!("{variable}: cred.* is legal in auth only"),
        Scope::Source => {
            format!("{variable}: source.* is legal in an automation's field_mapping only")
        }
    };
    errors.push(Problem::new(pointer, "template_unknown_variable", message));
}

/// Where an input goes: as written, else the path when the template names it, else by method.
fn place(
    input: &InputDef,
    method: Method,
    named: bool,
    pointer: &str,
    errors: &mut Vec<Problem>,
) -> InputPlace {
    let written = input.r#in.map(|place| match place {
        InputIn::Path => InputPlace::Path,
        InputIn::Query => InputPlace::Query,
        InputIn::Header => InputPlace::Header,
        InputIn::Body => InputPlace::Body,
    });
    if written == Some(InputPlace::Path) && !named {
        let message = format!("in is path, but url_template has no {{{{input.{}}}}}", input.name);
        errors.push(Problem::new(format!("{pointer}/in"), "input_not_in_path", message));
    }
    let by_method = if method.has_body() { InputPlace::Body } else { InputPlace::Query };
    written.unwrap_or(if named { InputPlace::Path } else { by_method })
}

fn check_place(
    context: &Context<'_>,
    input: &InputDef,
    place: InputPlace,
    method: Method,
    pointer: &str,
    errors: &mut Vec<Problem>,
) {
    if place == InputPlace::Body && !method.has_body() {
        let message = format!("{method} has no body");
        errors.push(Problem::new(format!("{pointer}/in"), "method_without_body", message));
    }
    let nested = matches!(input.r#type, InputType::Object | InputType::Array);
    if nested && place != InputPlace::Body {
        let message = "objects and arrays go to the body only; array formats are not implemented";
        errors.push(Problem::new(format!("{pointer}/type"), "input_type_not_placeable", message));
    }
    if place == InputPlace::Query && context.injects_query(input.r#as.as_deref().unwrap_or(&input.name)) {
        let message = format!("query pair {:?} is where the credential goes", input.name);
        errors.push(Problem::new(format!("{pointer}/name"), "query_forbidden", message));
    }
    if place == InputPlace::Header {
        let name = input.r#as.as_deref().unwrap_or(&input.name);
        check_header(name, "", &format!("{pointer}/name"), &context.injected, errors);
    }
}

fn checked_input(wire: &InputDef, pointer: &str, errors: &mut Vec<Problem>) -> Input {
    let input = Input {
        name: wire.name.clone(),
        label: wire.label.clone(),
        kind: wire.r#type,
        required: wire.required,
        default: wire.default.clone(),
        accepted: wire.r#enum.clone(),
        max_length: wire.max_length,
        help: wire.help.clone(),
    };
    if let Some(default) = &input.default {
        input.check(default, &format!("{pointer}/default"), errors);
    }
    input
}

/// Default headers and the action's own, the action's winning, in a stable order.
fn check_headers(
    context: &Context<'_>,
    wire: &ActionDef,
    pointer: &str,
    errors: &mut Vec<Problem>,
) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    let own = |name: &str| wire.headers.keys().any(|n| n.eq_ignore_ascii_case(name));
    let defaults = context
        .definition
        .default_headers
        .iter()
        .filter(|(name, _)| !own(name))
        .map(|(name, text)| (format!("/default_headers/{}", crate::problem::step(name)), name, text));
    let actions = wire
        .headers
        .iter()
        .map(|(name, text)| (format!("{pointer}/headers/{}", crate::problem::step(name)), name, text));
    for (at, name, text) in defaults.chain(actions) {
        let known = errors.iter().any(|p| p.pointer == at);
        if !known {
            check_header(name, text, &at, &context.injected, errors);
            if let Ok(template) = Template::parse(text) {
                for variable in template.variables() {
                    check_variable(context, wire, variable, &at, errors);
                }
            }
        }
        headers.push((name.clone(), text.clone()));
    }
    headers
}
