//! The whole draft: head, credential, actions, report.

use std::collections::HashMap;

use portcullis_core::connector::Connector;
use portcullis_core::id::ConnectorId;
use portcullis_core::limits::Limits;
use serde_json::{Map, Value, json};

use crate::bases::Bases;
use crate::context::Context;
use crate::limits::{CHECKS_MAX, DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX};
use crate::names::{self, Unique, one_line, paragraph, shown};
use crate::operation::{Maker, docs_url};
use crate::report::{Operations, ReportItem};
use crate::security::{self, Credentials};
use crate::select::{Selection, select};
use crate::{ImportError, ImportOptions, Imported};

/// What no draft has, said once.
const NEVER_CARRIED: &str = "never carried: what answers hold (their members, headers, errors and links), pagination, \
                             callbacks, webhooks, rate limits and examples; finish the draft by hand";

/// Makes the draft of a description.
pub(crate) fn draft(document: &Value, options: &ImportOptions) -> Result<Imported, ImportError> {
    let mut context = Context::new(document)?;
    let connector_id = connector_id(document, options)?;
    let mut bases = Bases::new(&mut context, options.base_url.as_deref())?;
    let selection = select(&mut context, &options.only);
    let credentials = security::choose(&mut context, &selection.operations, &mut bases);
    report_webhooks(&mut context);
    let head = head(&mut context, &connector_id);
    let mut actions = actions(&mut context, &selection, &credentials, &mut bases, options);
    let tail = tail(credentials, bases);
    let definition = accepted(&mut context, &head, &tail, &mut actions, options);
    if actions.is_empty() {
        let why = match (selection.total, selection.not_selected) {
            (0, _) if context.outside() == 0 => "the description has none",
            (total, other) if total == other && total > 0 => "`only` names none of them",
            _ => context.report.last_message().unwrap_or_default(),
        };
        return Err(ImportError::NoOperation { total: selection.total, why: why.to_owned() });
    }
    let carried = actions.len();
    let operations = Operations {
        total: selection.total,
        carried,
        left_out: selection.total - selection.not_selected - carried,
        not_selected: selection.not_selected,
    };
    let inputs = actions.iter().filter_map(|made| made.action.get("body_schema")?.as_array());
    let mut report = context.report.finish(operations, inputs.map(Vec::len).sum());
    let message = NEVER_CARRIED.to_owned();
    report.items.push(ReportItem { pointer: String::new(), code: "never_carried", message });
    Ok(Imported { definition, report })
}

/// An action, and the pointer to its operation.
struct Made {
    at: String,
    action: Value,
}

/// What a definition has besides head and actions.
fn tail(credentials: Credentials, bases: Bases) -> Map<String, Value> {
    let mut tail = Map::new();
    tail.insert("auth_type".to_owned(), json!(credentials.auth_type));
    if let Some(auth) = credentials.auth {
        tail.insert("auth".to_owned(), auth);
    }
    tail.insert("auth_schema".to_owned(), json!({ "fields": credentials.fields }));
    if !bases.fields.is_empty() {
        tail.insert("config_fields".to_owned(), Value::Array(bases.fields));
    }
    tail.insert("allowed_domains".to_owned(), json!(bases.domains));
    if !bases.ports.is_empty() {
        tail.insert("egress".to_owned(), json!({ "ports": bases.ports }));
    }
    tail
}

/// The definition, without the actions that the rules of an upload refuse or that would make it too large.
fn accepted(
    context: &mut Context<'_>,
    head: &Map<String, Value>,
    tail: &Map<String, Value>,
    actions: &mut Vec<Made>,
    options: &ImportOptions,
) -> Value {
    let limits = Limits { definition_bytes: options.definition_bytes_max, ..options.limits.clone() };
    for _ in 0..CHECKS_MAX {
        let definition = whole(head, tail, actions);
        if let Some(message) = Connector::too_large(&definition, &limits) {
            let over = definition.to_string().len() as u64 - options.definition_bytes_max;
            cut(context, actions, over, &message);
            continue;
        }
        let mut refused: HashMap<usize, String> = HashMap::new();
        for error in Connector::parse(&definition, &limits).errors {
            let index = error.pointer.strip_prefix("/actions/").and_then(|rest| rest.split('/').next());
            if let Some(index) = index.and_then(|text| text.parse().ok()) {
                refused.entry(index).or_insert(error.message);
            }
        }
        if refused.is_empty() {
            return definition;
        }
        let mut index = 0;
        actions.retain(|made| {
            let why = refused.remove(&index);
            if let Some(why) = &why {
                context.report.add_alone(&made.at, "not_accepted", format!("left out: {}", shown(why)));
            }
            index += 1;
            why.is_none()
        });
    }
    whole(head, tail, actions)
}

fn whole(head: &Map<String, Value>, tail: &Map<String, Value>, actions: &[Made]) -> Value {
    let actions = actions.iter().map(|made| made.action.clone()).collect();
    let members = head.iter().chain(tail).map(|(name, value)| (name.clone(), value.clone()));
    let mut definition: Map<String, Value> = members.collect();
    definition.insert("actions".to_owned(), Value::Array(actions));
    Value::Object(definition)
}

/// Leaves out the last actions, until that many bytes less are left.
fn cut(context: &mut Context<'_>, actions: &mut Vec<Made>, over: u64, message: &str) {
    let (mut less, mut count, mut first) = (0_u64, 0_usize, String::new());
    while less < over
        && let Some(made) = actions.pop()
    {
        less += made.action.to_string().len() as u64;
        count += 1;
        first = made.at;
    }
    context.report.add_alone(
        &first,
        "actions_cut",
        format!("{count} operations are left out, this one first: {message}"),
    );
}

fn info<'d>(document: &'d Value, name: &str) -> &'d str {
    document.get("info").and_then(|info| info.get(name)?.as_str()).unwrap_or_default()
}

fn connector_id(document: &Value, options: &ImportOptions) -> Result<String, ImportError> {
    match &options.connector_id {
        Some(id) if ConnectorId::parse(id).is_err() => Err(ImportError::ConnectorId(shown(id))),
        Some(id) => Ok(id.clone()),
        None => Ok(names::connector_id(info(document, "title"))),
    }
}

fn head(context: &mut Context<'_>, connector_id: &str) -> Map<String, Value> {
    let document = context.root;
    let (title, title_cut) = one_line(info(document, "title"), NAME_CHARS_MAX);
    let (description, description_cut) = paragraph(info(document, "description"), DESCRIPTION_CHARS_MAX);
    if title_cut || description_cut {
        context.report.tally("/info", "text_cut", "a text is longer than the format allows");
    }
    let mut head = Map::new();
    head.insert("schema_version".to_owned(), json!(1));
    head.insert("connector_id".to_owned(), json!(connector_id));
    head.insert("display_name".to_owned(), json!(if title.is_empty() { connector_id } else { &title }));
    head.insert("status".to_owned(), json!("draft"));
    if !description.is_empty() {
        head.insert("description".to_owned(), json!(description));
    }
    if let Some(url) = document.as_object().and_then(|object| docs_url(context, object, "")) {
        head.insert("docs_url".to_owned(), json!(url));
    }
    head
}

fn report_webhooks(context: &mut Context<'_>) {
    for name in ["webhooks", "x-webhooks"] {
        let count = context.root.get(name).and_then(Value::as_object).map_or(0, Map::len);
        if count > 0 {
            let message = format!("{count} calls in the other direction are not carried");
            context.report.add(&format!("/{name}"), "webhooks", message);
        }
    }
}

fn actions<'a>(
    context: &mut Context<'a>,
    selection: &Selection<'a>,
    credentials: &Credentials,
    bases: &mut Bases,
    options: &ImportOptions,
) -> Vec<Made> {
    let mut ids = Unique::default();
    let mut maker = Maker { bases, credentials, ids: &mut ids, inputs_max: options.inputs_max };
    let mut actions = Vec::new();
    let mut bytes = 0_u64;
    let mut over = 0_usize;
    let mut first_over = "";
    for operation in &selection.operations {
        if actions.len() >= options.actions_max || bytes >= options.definition_bytes_max {
            if over == 0 {
                first_over = &operation.at;
            }
            over += 1;
            continue;
        }
        context.report.mark();
        match maker.action(context, operation) {
            Ok(action) => {
                bytes += action.to_string().len() as u64;
                actions.push(Made { at: operation.at.clone(), action });
            }
            Err((code, why)) => {
                context.report.rewind();
                context.report.add_alone(&operation.at, code, format!("left out: {why}"));
            }
        }
    }
    if over > 0 {
        let (actions, bytes) = (options.actions_max, options.definition_bytes_max);
        let limits = format!("the limit is {actions} actions or {bytes} bytes");
        let message = format!("{over} operations are left out, this one first: {limits}");
        context.report.add_alone(first_over, "actions_cut", message);
    }
    actions
}
