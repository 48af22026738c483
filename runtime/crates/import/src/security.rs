//! Security: the credential of the draft, and the parameters that carry credentials.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use crate::bases::Bases;
use crate::context::{Context, Dialect};
use crate::names::shown;
use crate::select::Operation;
use portcullis_core::violation::step;

mod combine;
mod scheme;
mod scopes;

use combine::{Choice, Fitness};
use scheme::{Place, Usable};

/// How the draft authenticates.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    /// Names of the schemes in the description.
    schemes: Vec<String>,
    /// `auth_type`.
    pub(crate) auth_type: &'static str,
    /// `auth`.
    pub(crate) auth: Option<Value>,
    /// `auth_schema.fields`.
    pub(crate) fields: Vec<Value>,
    /// Where the draft's credential goes.
    places: Vec<Place>,
    headers: HashSet<String>,
    queries: HashSet<String>,
}

impl Credentials {
    /// Whether a credential of the description, the draft's or another, goes into that header.
    pub(crate) fn has_header(&self, name: &str) -> bool {
        self.headers.contains(&scheme::fold(name))
    }

    /// Whether a credential of the description goes into that query pair.
    pub(crate) fn has_query(&self, name: &str) -> bool {
        self.queries.contains(&name.to_ascii_lowercase())
    }

    /// Whether the draft's credential goes there.
    pub(crate) fn sends(&self, kind: &'static str, name: &str) -> bool {
        self.places.contains(&Place::new(kind, name))
    }

    /// Reports an operation whose credential is another one than the draft's.
    pub(crate) fn compare(&self, context: &mut Context<'_>, operation: &Operation<'_>) {
        let own = operation.object.get("security").and_then(Value::as_array);
        let at = if own.is_some() { format!("{}/security", operation.at) } else { operation.at.clone() };
        let list = own.or_else(|| context.root.get("security").and_then(Value::as_array));
        let list = list.map(Vec::as_slice).unwrap_or_default();
        let asked = |requirement: &Value| requirement.as_object().is_some_and(|names| !names.is_empty());
        if !list.iter().any(asked) {
            if !self.places.is_empty() {
                let what = "an operation asks for no credential; the draft sends its own all the same";
                context.report.tally(&at, "operation_without_security", what);
            }
            return;
        }
        let accepts = |requirement: &Value| {
            let names = requirement.as_object();
            names.is_some_and(|names| names.keys().all(|name| self.schemes.contains(name)))
        };
        // Why not where nothing was chosen and the operation says nothing itself: that is said once, of the draft.
        let is_said = self.schemes.is_empty() && own.is_none();
        if !is_said && !list.iter().any(accepts) {
            let message = "it asks for a credential that the draft does not have";
            context.report.add(&at, "operation_security", message);
        }
    }
}

/// Chooses the credential of the draft and reports the others.
pub(crate) fn choose<'a>(
    context: &mut Context<'a>,
    operations: &[Operation<'a>],
    bases: &mut Bases,
) -> Credentials {
    let root = context.root;
    let (schemes, at) = match context.dialect {
        Dialect::Two => (root.get("securityDefinitions"), "/securityDefinitions"),
        Dialect::Three => (root.pointer("/components/securitySchemes"), "/components/securitySchemes"),
    };
    let mut credentials = Credentials { auth_type: "none", ..Credentials::default() };
    let Some(schemes) = schemes.and_then(Value::as_object).filter(|schemes| !schemes.is_empty()) else {
        from_parameter(context, operations, &mut credentials);
        return credentials;
    };
    note_parameters(context, schemes, at, &mut credentials);
    let mut reasons = Vec::new();
    let mut chosen: Option<Choice<'a>> = None;
    let demanded = demanded(context, schemes, operations);
    for group in groups(context, schemes, operations) {
        for mut names in group {
            names.extend(demanded.iter().filter(|name| !names.contains(name)).copied().collect::<Vec<_>>());
            let choice = read(context, (schemes, at), names, bases, &mut reasons);
            let better =
                |choice: &Choice<'_>| chosen.as_ref().is_none_or(|best| choice.fitness < best.fitness);
            chosen = choice.filter(better).or(chosen);
        }
        if chosen.is_some() {
            break;
        }
    }
    if let Some(choice) = chosen {
        take(context, operations, (schemes, at), choice, bases, &mut credentials);
    }
    report_others(context, schemes, at, &reasons, &credentials);
    if credentials.schemes.is_empty() {
        from_parameter(context, operations, &mut credentials);
    }
    credentials
}

/// The schemes of one requirement, as far as they can be sent together.
fn read<'a>(
    context: &mut Context<'a>,
    (schemes, at): (&'a Map<String, Value>, &str),
    names: Vec<&'a str>,
    bases: &Bases,
    reasons: &mut Vec<(String, String)>,
) -> Option<Choice<'a>> {
    let mut all = Vec::new();
    for name in names {
        let at = format!("{at}/{}", step(name));
        let scheme = context.object(schemes.get(name)?, &at)?;
        match scheme::read(context.dialect, scheme, bases) {
            Ok(usable) => all.push((name, usable)),
            Err(why) => {
                if !reasons.iter().any(|(known, _)| known == name) {
                    reasons.push((name.to_owned(), why));
                }
                return None;
            }
        }
    }
    combine::choice(all)
}

fn take<'a>(
    context: &mut Context<'a>,
    operations: &[Operation<'a>],
    (schemes, at): (&'a Map<String, Value>, &str),
    mut choice: Choice<'a>,
    bases: &mut Bases,
    credentials: &mut Credentials,
) {
    for name in &choice.dropped {
        let message = format!("{:?} goes to the same place as another one and is left out", shown(name));
        context.report.add(&format!("{at}/{}", step(name)), "security_combination", message);
    }
    for (name, usable) in &mut choice.schemes {
        let at = format!("{at}/{}", step(name));
        for (code, message) in std::mem::take(&mut usable.notes) {
            context.report.add(&at, code, message);
        }
        if let Some(host) = &usable.token_host
            && !bases.allow(host)
        {
            // What is not allowed would be an error of the draft; a token can be had elsewhere, too.
            let message = format!("{host} would exceed the limit of hosts; the draft takes a token");
            context.report.add(&at, "oauth_as_bearer", message);
            *usable = scheme::bearer();
        }
        let scheme = schemes.get(*name).and_then(|scheme| crate::refs::resolve(context.root, scheme).ok());
        if let (true, Some(scheme)) =
            (usable.auth.contains_key("token_url"), scheme.and_then(Value::as_object))
        {
            let scopes = scopes::scopes(context, operations, name, scheme, &at);
            usable.auth.insert("scopes".to_owned(), json!(scopes));
        }
        if let Some(help) = scheme.and_then(|scheme| scheme.get("description")?.as_str()) {
            usable.set_help(help);
        }
        credentials.schemes.push((*name).to_owned());
        credentials.places.push(usable.place.clone());
    }
    let joined = combine::join(choice.schemes, bases);
    credentials.auth_type = joined.auth_type;
    credentials.auth = (!joined.auth.is_empty()).then_some(Value::Object(joined.auth));
    credentials.fields = joined.fields.iter().map(scheme::Field::document).collect();
}

/// Records where API keys go, chosen or not: these are no inputs.
fn note_parameters<'a>(
    context: &mut Context<'a>,
    schemes: &'a Map<String, Value>,
    at: &str,
    credentials: &mut Credentials,
) {
    for (name, scheme) in schemes {
        let Some(scheme) = context.object(scheme, &format!("{at}/{}", step(name))) else { continue };
        let text = |key: &str| scheme.get(key).and_then(Value::as_str).unwrap_or_default();
        match (text("type"), text("in")) {
            ("apiKey", "header") => credentials.headers.insert(scheme::fold(text("name"))),
            ("apiKey", "query") => credentials.queries.insert(text("name").to_ascii_lowercase()),
            _ => continue,
        };
    }
}

/// Requirements, each the names of schemes that are sent together: the description's in their order, then the
/// operations', the most used first. Where nothing requires anything, every scheme.
fn groups<'a>(
    context: &mut Context<'a>,
    schemes: &'a Map<String, Value>,
    operations: &[Operation<'a>],
) -> [Vec<Vec<&'a str>>; 3] {
    let global = context.root.get("security").and_then(Value::as_array);
    let mut counts: Vec<(Vec<&str>, usize)> = Vec::new();
    let mut is_said = global.is_some();
    for operation in operations {
        let own = operation.object.get("security").and_then(Value::as_array);
        is_said |= own.is_some();
        for names in requirements(own) {
            match counts.iter_mut().find(|(known, _)| *known == names) {
                Some((_, count)) => *count += 1,
                None => counts.push((names, 1)),
            }
        }
    }
    // A stable sort: of two that are used equally often, the first one met.
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let used = counts.into_iter().map(|(names, _)| names).collect();
    let declared = if is_said {
        Vec::new()
    } else {
        let message = "no operation says which credential it takes; the first one that can be used was taken";
        context.report.add("", "security_assumed", message);
        schemes.keys().map(|name| vec![name.as_str()]).collect()
    };
    [requirements(global), used, declared]
}

/// Schemes whose key most operations require as a parameter: they go with every requirement.
fn demanded<'a>(
    context: &Context<'a>,
    schemes: &'a Map<String, Value>,
    operations: &[Operation<'a>],
) -> Vec<&'a str> {
    let mut counts: HashMap<(String, String), usize> = HashMap::new();
    for operation in operations {
        let lists = [operation.item, operation.object].map(|holder| holder.get("parameters"));
        for entry in lists.into_iter().flatten().filter_map(Value::as_array).flatten() {
            let Ok(parameter) = crate::refs::resolve(context.root, entry) else { continue };
            let text = |key: &str| parameter.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            if parameter.get("required") == Some(&Value::Bool(true)) {
                *counts.entry((text("in"), text("name"))).or_default() += 1;
            }
        }
    }
    let is_demanded = |scheme: &Value| {
        let Ok(scheme) = crate::refs::resolve(context.root, scheme) else { return false };
        let text = |key: &str| scheme.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let count = counts.get(&(text("in"), text("name"))).copied().unwrap_or_default();
        text("type") == "apiKey" && count * 2 > operations.len()
    };
    schemes.iter().filter(|(_, scheme)| is_demanded(scheme)).map(|(name, _)| name.as_str()).collect()
}

fn requirements(list: Option<&Vec<Value>>) -> Vec<Vec<&str>> {
    let all = list.into_iter().flatten().filter_map(Value::as_object);
    all.filter(|names| !names.is_empty()).map(|names| names.keys().map(String::as_str).collect()).collect()
}

/// A description without a usable scheme may say `Authorization` as a parameter: that is a credential, too.
fn from_parameter<'a>(
    context: &mut Context<'a>,
    operations: &[Operation<'a>],
    credentials: &mut Credentials,
) {
    let in_authorization = |parameter: &&Map<String, Value>| {
        let text = |key: &str| parameter.get(key).and_then(Value::as_str).unwrap_or_default();
        text("in") == "header" && text("name").eq_ignore_ascii_case("authorization")
    };
    for operation in operations {
        for holder in [operation.object, operation.item] {
            let entries = holder.get("parameters").and_then(Value::as_array).into_iter().flatten();
            let parameters = entries.filter_map(|entry| crate::refs::resolve(context.root, entry).ok());
            let Some(found) = parameters.filter_map(Value::as_object).find(in_authorization) else {
                continue;
            };
            let Ok(mut usable) = scheme::api_key("header", "Authorization") else { return };
            if let Some(help) = found.get("description").and_then(Value::as_str) {
                usable.set_help(help);
            }
            let message = "the parameter Authorization is the draft's credential";
            context.report.add(&operation.at, "security_from_parameter", message);
            credentials.auth_type = usable.auth_type;
            credentials.fields = usable.fields.iter().map(scheme::Field::document).collect();
            credentials.places.push(usable.place);
            credentials.auth = Some(Value::Object(usable.auth));
            return;
        }
    }
}

fn report_others(
    context: &mut Context<'_>,
    schemes: &Map<String, Value>,
    at: &str,
    reasons: &[(String, String)],
    credentials: &Credentials,
) {
    for name in schemes.keys().filter(|name| !credentials.schemes.contains(name)) {
        let reason = reasons.iter().find(|(known, _)| known == name).map(|(_, why)| why.as_str());
        let other = match credentials.schemes.as_slice() {
            [] => "it cannot be sent with what it is required with".to_owned(),
            chosen => format!("{:?} was chosen", shown(&chosen.join(" with "))),
        };
        let message = format!("scheme {:?} is not carried: {}", shown(name), reason.unwrap_or(&other));
        context.report.add(&format!("{at}/{}", step(name)), "security_scheme_not_carried", message);
    }
    if credentials.schemes.is_empty() {
        context.report.add(at, "no_security", "the draft has no credential: no scheme could be used");
    }
}

impl Usable {
    fn fitness(&self) -> Fitness {
        if self.is_fallback { Fitness::Fallback } else { Fitness::Whole }
    }
}
