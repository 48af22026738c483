//! The whole draft: head, credential, actions, report.

use serde_json::{Map, Value, json};

use crate::bases::Bases;
use crate::context::Context;
use crate::limits::{DESCRIPTION_CHARS_MAX, DRAFT_BYTES_MAX, NAME_CHARS_MAX};
use crate::names::{self, Unique, one_line, paragraph, shown};
use crate::operation::{Maker, docs_url};
use crate::report::Operations;
use crate::security::{self, Credentials};
use crate::select::{Selection, select};
use crate::{ImportError, ImportOptions, Imported};
use portcullis_core::id::ConnectorId;

/// Makes the draft of a description.
pub(crate) fn draft(document: &Value, options: &ImportOptions) -> Result<Imported, ImportError> {
    let mut context = Context::new(document)?;
    let connector_id = connector_id(document, options)?;
    let mut bases = Bases::new(&mut context, options.base_url.as_deref())?;
    let selection = select(&mut context, &options.only);
    let credentials = security::choose(&mut context, &selection.operations, &mut bases);
    report_webhooks(&mut context);
    let (actions, operations) = actions(&mut context, &selection, &credentials, &mut bases, options);
    if actions.is_empty() {
        let why = match (selection.total, selection.not_selected) {
            (0, _) => "the description has none",
            (total, other) if total == other => "`only` names none of them",
            _ => context.report.last_message().unwrap_or_default(),
        };
        return Err(ImportError::NoOperation { total: selection.total, why: why.to_owned() });
    }
    let inputs = actions.iter().filter_map(|a| a.get("body_schema")?.as_array()).map(Vec::len).sum();
    let mut definition = head(&mut context, &connector_id);
    definition.insert("auth_type".to_owned(), json!(credentials.auth_type));
    if let Some(auth) = credentials.auth {
        definition.insert("auth".to_owned(), auth);
    }
    definition.insert("auth_schema".to_owned(), json!({ "fields": credentials.fields }));
    if !bases.fields.is_empty() {
        definition.insert("config_fields".to_owned(), Value::Array(bases.fields));
    }
    definition.insert("allowed_domains".to_owned(), json!(bases.domains));
    if !bases.ports.is_empty() {
        definition.insert("egress".to_owned(), json!({ "ports": bases.ports }));
    }
    definition.insert("actions".to_owned(), Value::Array(actions));
    let report = context.report.finish(operations, inputs);
    Ok(Imported { definition: Value::Object(definition), report })
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
    if let Some(url) = document.as_object().and_then(docs_url) {
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
) -> (Vec<Value>, Operations) {
    let mut ids = Unique::default();
    let mut maker = Maker { bases, credentials, ids: &mut ids, inputs_max: options.inputs_max };
    let mut actions = Vec::new();
    let mut bytes = 0_usize;
    let mut over = 0_usize;
    let mut first_over = "";
    for operation in &selection.operations {
        if actions.len() >= options.actions_max || bytes >= DRAFT_BYTES_MAX {
            if over == 0 {
                first_over = &operation.at;
            }
            over += 1;
            continue;
        }
        let mark = context.report.mark();
        match maker.action(context, operation) {
            Ok(action) => {
                bytes += action.to_string().len();
                actions.push(action);
            }
            Err((code, why)) => {
                context.report.rewind(mark);
                context.report.add(&operation.at, code, format!("left out: {why}"));
            }
        }
    }
    if over > 0 {
        let limit = options.actions_max;
        let limits = format!("the limit is {limit} actions or {DRAFT_BYTES_MAX} bytes");
        let message = format!("{over} operations are left out, this one first: {limits}");
        context.report.add(first_over, "actions_cut", message);
    }
    let carried = actions.len();
    let operations = Operations {
        total: selection.total,
        carried,
        left_out: selection.total - selection.not_selected - carried,
        not_selected: selection.not_selected,
    };
    (actions, operations)
}
