//! Parameters in path, query, header and cookie.

use std::collections::{HashMap, HashSet};

use portcullis_core::header_rules::check_request_header;
use serde_json::{Map, Value};

use crate::context::{Context, Dialect};
use crate::inputs::{Inputs, NewInput, Place};
use crate::limits::PARAMETERS_MAX;
use crate::names::shown;
use crate::security::Credentials;
use crate::select::Operation;
use crate::shape::{At, Shape, Wanted, describe};
use crate::url::{Piece, pieces};

/// Headers that the body or the credential sets, besides those that the host owns.
const MADE_HEADERS: &[&str] = &["accept", "authorization", "content-type"];

/// A default is sent only where a value is required: elsewhere it says what the API does without one.
fn wanted(parameter: &Parameter<'_>) -> Wanted {
    Wanted { files: false, sends_default: parameter.is_required(), is_form: false }
}

/// A parameter object.
#[derive(Debug, Clone)]
pub(crate) struct Parameter<'a> {
    pub(crate) object: &'a Map<String, Value>,
    /// Pointer to where it is used.
    pub(crate) at: String,
    /// Pointer to where it is defined.
    pub(crate) home: String,
}

impl<'a> Parameter<'a> {
    pub(crate) fn text(&self, name: &str) -> &'a str {
        self.object.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn is_required(&self) -> bool {
        self.object.get("required").and_then(Value::as_bool).unwrap_or_default()
    }

    pub(crate) fn description(&self) -> Option<&'a str> {
        self.object.get("description").and_then(Value::as_str).filter(|d| !d.is_empty())
    }
}

/// The parameters of an operation: its path's and its own; its own win.
pub(crate) fn effective<'a>(context: &mut Context<'a>, operation: &Operation<'a>) -> Vec<Parameter<'a>> {
    let mut list: Vec<Parameter<'a>> = Vec::new();
    let mut known: HashMap<(&'a str, &'a str), usize> = HashMap::new();
    let path_at = operation.at.rsplit_once('/').map_or("", |(path, _)| path);
    for (holder, at) in [(operation.item, path_at), (operation.object, operation.at.as_str())] {
        let entries = holder.get("parameters").and_then(Value::as_array);
        for (index, entry) in entries.into_iter().flatten().enumerate() {
            let at = format!("{at}/parameters/{index}");
            if list.len() >= PARAMETERS_MAX {
                context.report.add(&at, "parameters_cut", format!("more than {PARAMETERS_MAX} parameters"));
                return list;
            }
            let Some((object, home)) = context.object_at(entry, &at) else { continue };
            let parameter = Parameter { object, at, home };
            let key = (parameter.text("in"), parameter.text("name"));
            match known.get(&key).and_then(|index| list.get_mut(*index)) {
                Some(other) => *other = parameter,
                None => {
                    known.insert(key, list.len());
                    list.push(parameter);
                }
            }
        }
    }
    list
}

/// Adds the parameters to `inputs`; returns what each `{variable}` of the path becomes.
pub(crate) fn carry<'a>(
    context: &mut Context<'a>,
    operation: &Operation<'a>,
    parameters: &[Parameter<'a>],
    credentials: &Credentials,
    inputs: &mut Inputs,
) -> HashMap<String, String> {
    let variables: HashSet<&str> = pieces(operation.path)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|piece| if let Piece::Variable(name) = piece { Some(name) } else { None })
        .collect();
    let mut texts = HashMap::new();
    // Why first: a name in the URL is kept, whatever else has the same name.
    for parameter in parameters.iter().filter(|p| p.text("in") == "path") {
        path(context, parameter, &variables, inputs, &mut texts);
    }
    let mut undeclared: Vec<&str> = variables.into_iter().filter(|name| !texts.contains_key(*name)).collect();
    undeclared.sort_unstable();
    for name in undeclared {
        let message = format!("{:?} is in the path and not declared; it is a text", shown(name));
        context.report.add(&operation.at, "path_parameter_undeclared", message);
        let shape = Shape { input_type: "string", attributes: Map::new(), title: None };
        push_path(context, name, shape, &operation.at, ("", ""), inputs, &mut texts);
    }
    for parameter in parameters {
        match parameter.text("in") {
            "query" => query(context, parameter, credentials, inputs),
            "header" => header(context, parameter, credentials, inputs),
            "cookie" => refuse(context, parameter, "cookie_parameter", "cookies are not sent"),
            "path" | "body" | "formData" => {}
            other => {
                let why = format!("`in` is {:?}", shown(other));
                refuse(context, parameter, "parameter_not_read", &why);
            }
        }
    }
    texts
}

fn refuse(context: &mut Context<'_>, parameter: &Parameter<'_>, code: &'static str, why: &str) {
    let name = shown(parameter.text("name"));
    let needed = if parameter.is_required() { "; the API requires it" } else { "" };
    context.report.add(&parameter.at, code, format!("{name:?} is not carried: {why}{needed}"));
}

/// The schema of a parameter: in 2.0 the parameter itself.
fn shape<'a>(context: &mut Context<'a>, parameter: &Parameter<'a>) -> Shape {
    let schema = match context.dialect {
        Dialect::Two => None,
        Dialect::Three => parameter.object.get("schema"),
    };
    let flat = match (schema, context.dialect) {
        (Some(schema), _) => context.flatten(schema, &parameter.at, false),
        (None, Dialect::Two) => context.flatten_object(parameter.object, &parameter.at),
        (None, Dialect::Three) => Default::default(),
    };
    let place = At { pointer: &parameter.at, name: parameter.text("name") };
    describe(context, &flat, parameter.description(), &place, wanted(parameter))
}

fn path<'a>(
    context: &mut Context<'a>,
    parameter: &Parameter<'a>,
    variables: &HashSet<&str>,
    inputs: &mut Inputs,
    texts: &mut HashMap<String, String>,
) {
    let name = parameter.text("name");
    if !variables.contains(name) {
        refuse(context, parameter, "path_parameter_unused", "the path does not have it");
        return;
    }
    if texts.contains_key(name) {
        return;
    }
    let mut shape = shape(context, parameter);
    // Why not for untyped ones: `{}` in a path is commonly a text.
    if matches!(shape.input_type, "array" | "object") {
        let message =
            format!("{:?} is an {}; it is taken as the text it becomes", shown(name), shape.input_type);
        context.report.add(&parameter.at, "parameter_as_text", message);
        as_text(&mut shape);
    }
    let matrix = format!(";{name}=");
    let around = match parameter.text("style") {
        "label" => (".", ""),
        "matrix" => (matrix.as_str(), ""),
        _ => ("", ""),
    };
    push_path(context, name, shape, &parameter.at, around, inputs, texts);
}

/// An array in a path or header is one text with commas; the caller writes it.
fn as_text(shape: &mut Shape) {
    shape.input_type = "string";
    shape.attributes.shift_remove("default");
}

fn push_path(
    context: &mut Context<'_>,
    name: &str,
    shape: Shape,
    at: &str,
    around: (&str, &str),
    inputs: &mut Inputs,
    texts: &mut HashMap<String, String>,
) {
    let new = NewInput { wire: name, place: Place::Path, required: true, named: true, array_format: None };
    if let Some(input) = inputs.push(context, &new, shape, at) {
        let mut before = String::new();
        crate::url::push_encoded(around.0, &mut before);
        texts.insert(name.to_owned(), format!("{before}{{{{input.{input}}}}}{}", around.1));
    }
}

/// How an array or object of the query is written, or why it cannot be.
fn array_format(
    dialect: Dialect,
    parameter: &Parameter<'_>,
    input_type: &str,
) -> Result<Option<&'static str>, String> {
    if parameter.object.contains_key("content") {
        return match input_type {
            "array" | "object" | "any" => Err("its value is a separate document (`content`)".to_owned()),
            _ => Ok(None),
        };
    }
    let style = parameter.text("style");
    if style == "deepObject" {
        return Ok(matches!(input_type, "array" | "object" | "any").then_some("brackets"));
    }
    match input_type {
        "object" => Err(format!("an object in style {:?}", if style.is_empty() { "form" } else { style })),
        "array" if dialect == Dialect::Two => collection_format(parameter.text("collectionFormat")).map(Some),
        "array" => {
            let explode = parameter.object.get("explode").and_then(Value::as_bool);
            match (style, explode.unwrap_or(style.is_empty() || style == "form")) {
                ("" | "form", true) | ("pipeDelimited", true) | ("spaceDelimited", true) => {
                    Ok(Some("repeat"))
                }
                ("" | "form", false) => Ok(Some("comma")),
                ("pipeDelimited", false) => Ok(Some("pipe")),
                (other, _) => Err(format!("an array in style {other:?}")),
            }
        }
        _ => Ok(None),
    }
}

/// 2.0's `collectionFormat`.
pub(crate) fn collection_format(name: &str) -> Result<&'static str, String> {
    match name {
        "" | "csv" => Ok("comma"),
        "pipes" => Ok("pipe"),
        "multi" => Ok("repeat"),
        other => Err(format!("an array in collectionFormat {other:?}")),
    }
}

fn query<'a>(
    context: &mut Context<'a>,
    parameter: &Parameter<'a>,
    credentials: &Credentials,
    inputs: &mut Inputs,
) {
    let name = parameter.text("name");
    if credentials.has_query(name) {
        refuse(context, parameter, "credential_parameter", "it is where a credential goes");
        return;
    }
    let shape = shape(context, parameter);
    let format = match array_format(context.dialect, parameter, shape.input_type) {
        Ok(format) => format,
        Err(why) => {
            refuse(context, parameter, "parameter_style", &why);
            return;
        }
    };
    if parameter.object.get("allowReserved").and_then(Value::as_bool) == Some(true) {
        let what = "reserved characters are percent-encoded";
        context.report.tally(&parameter.at, "allow_reserved_not_carried", what);
    }
    let required = parameter.is_required();
    let new = NewInput { wire: name, place: Place::Query, required, named: false, array_format: format };
    inputs.push(context, &new, shape, &parameter.at);
}

fn header<'a>(
    context: &mut Context<'a>,
    parameter: &Parameter<'a>,
    credentials: &Credentials,
    inputs: &mut Inputs,
) {
    let name = parameter.text("name");
    if credentials.has_header(name) {
        refuse(context, parameter, "credential_parameter", "it is where a credential goes");
        return;
    }
    let made = MADE_HEADERS.iter().any(|made| name.eq_ignore_ascii_case(made));
    if made || check_request_header(name, b"", &[]).is_err() {
        refuse(context, parameter, "header_owned", "the header is the host's, or no header name");
        return;
    }
    let mut shape = shape(context, parameter);
    if matches!(shape.input_type, "array" | "object" | "any") {
        let message = format!("{:?} is taken as the text it becomes", shown(name));
        context.report.add(&parameter.at, "parameter_as_text", message);
        as_text(&mut shape);
    }
    let required = parameter.is_required();
    let new = NewInput { wire: name, place: Place::Header, required, named: false, array_format: None };
    inputs.push(context, &new, shape, &parameter.at);
}
