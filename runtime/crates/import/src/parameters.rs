//! Parameters in path, query, header and cookie.

use std::collections::{HashMap, HashSet};

use portcullis_core::header_rules::check_request_header;
use serde_json::{Map, Value};

use crate::context::{Context, Dialect};
use crate::headers;
use crate::inputs::{Inputs, NewInput, Place};
use crate::limits::PARAMETERS_MAX;
use crate::names::shown;
use crate::operation::LeftOut;
use crate::schema::Flat;
use crate::security::Credentials;
use crate::select::Operation;
use crate::shape::{At, Said, Shape, Wanted, describe, examples_in};
use crate::url::{Piece, pieces};

mod style;

pub(crate) use style::collection_format;

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
///
/// # Errors
/// Why the operation is left out: one of them leads nowhere, and it may be required.
pub(crate) fn effective<'a>(
    context: &mut Context<'a>,
    operation: &Operation<'a>,
) -> Result<Vec<Parameter<'a>>, LeftOut> {
    let mut list: Vec<Parameter<'a>> = Vec::new();
    let mut known: HashMap<(&'a str, &'a str), usize> = HashMap::new();
    for (holder, at) in [(operation.item, &operation.item_at), (operation.object, &operation.at)] {
        let entries = holder.get("parameters").and_then(Value::as_array);
        for (index, entry) in entries.into_iter().flatten().enumerate() {
            let at = format!("{at}/parameters/{index}");
            if list.len() >= PARAMETERS_MAX {
                context.report.add(&at, "parameters_cut", format!("more than {PARAMETERS_MAX} parameters"));
                return Ok(list);
            }
            let Some((object, home)) = context.part(entry, &at)? else { continue };
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
    Ok(list)
}

/// What becomes of the parameters that are no inputs.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// What each `{variable}` of the path becomes.
    pub(crate) texts: HashMap<String, String>,
    /// Headers with the one value that they can have.
    pub(crate) headers: Map<String, Value>,
}

/// Adds the parameters to `inputs`.
///
/// # Errors
/// Why the operation is left out: it requires a parameter that an action cannot have.
pub(crate) fn carry<'a>(
    context: &mut Context<'a>,
    operation: &Operation<'a>,
    parameters: &[Parameter<'a>],
    credentials: &Credentials,
    inputs: &mut Inputs,
) -> Result<Carried, LeftOut> {
    let variables: HashSet<&str> = pieces(operation.path)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|piece| if let Piece::Variable(name) = piece { Some(name) } else { None })
        .collect();
    let mut carried = Carried::default();
    // A path may have a query, with variables and with fixed pairs.
    let pairs = operation.path.split_once('?').map_or("", |(_, query)| query);
    let in_url = |parameter: &Parameter<'_>| match parameter.text("in") {
        "path" => true,
        "query" => pairs.contains('{') && variables.contains(parameter.text("name")),
        _ => false,
    };
    let is_fixed = |name: &str| pairs.split('&').any(|pair| pair.split('=').next() == Some(name));
    // Why first: a name in the URL is kept, whatever else has the same name.
    for parameter in parameters.iter().filter(|parameter| in_url(parameter)) {
        path(context, parameter, &variables, inputs, &mut carried.texts)?;
    }
    undeclared(context, operation, &variables, inputs, &mut carried.texts);
    for parameter in parameters {
        match parameter.text("in") {
            "query" if in_url(parameter) => {}
            "query" if is_fixed(parameter.text("name")) => {
                skip(context, parameter, "query_pair_fixed", "the path has the pair already");
            }
            "query" => query(context, parameter, credentials, inputs)?,
            "header" => header(context, parameter, credentials, inputs, &mut carried.headers)?,
            "cookie" if credentials.sends("cookie", parameter.text("name")) => {}
            "cookie" => refuse(context, parameter, "cookie_parameter", "cookies are not sent")?,
            "path" | "body" | "formData" => {}
            other => {
                let why = format!("`in` is {:?}", shown(other));
                refuse(context, parameter, "parameter_not_read", &why)?;
            }
        }
    }
    Ok(carried)
}

/// Variables of the path that no parameter declares.
fn undeclared(
    context: &mut Context<'_>,
    operation: &Operation<'_>,
    variables: &HashSet<&str>,
    inputs: &mut Inputs,
    texts: &mut HashMap<String, String>,
) {
    let mut undeclared: Vec<&str> =
        variables.iter().copied().filter(|name| !texts.contains_key(*name)).collect();
    undeclared.sort_unstable();
    for name in undeclared {
        let message = format!("{:?} is in the path and not declared; it is a text", shown(name));
        context.report.add(&operation.at, "path_parameter_undeclared", message);
        let shape = Shape { input_type: "string", attributes: Map::new(), title: None };
        push_path(context, name, shape, &operation.at, ("", ""), inputs, texts);
    }
}

/// Reports a parameter that is not carried.
///
/// # Errors
/// The same as the reason why the operation is left out, if it is required.
fn refuse(
    context: &mut Context<'_>,
    parameter: &Parameter<'_>,
    code: &'static str,
    why: &str,
) -> Result<(), LeftOut> {
    let name = shown(parameter.text("name"));
    if parameter.is_required() {
        return Err((code, format!("it requires {name:?}, which cannot be carried: {why}")));
    }
    context.report.add(&parameter.at, code, format!("{name:?} is not carried: {why}"));
    Ok(())
}

/// Reports a parameter that is no input because the request has it, or does not need it.
fn skip(context: &mut Context<'_>, parameter: &Parameter<'_>, code: &'static str, why: &str) {
    let message = format!("{:?} is no input: {why}", shown(parameter.text("name")));
    context.report.add(&parameter.at, code, message);
}

/// The schema of a parameter: in 2.0 the parameter itself.
fn flat<'a>(context: &mut Context<'a>, parameter: &Parameter<'a>) -> Result<Flat<'a>, LeftOut> {
    let before = context.outside();
    let schema = match context.dialect {
        Dialect::Two => None,
        Dialect::Three => parameter.object.get("schema").or_else(|| content(parameter)?.1.get("schema")),
    };
    let flat = match (schema, context.dialect) {
        (Some(schema), _) => context.flatten(schema, &parameter.at, false),
        (None, Dialect::Two) => context.flatten_object(parameter.object, &parameter.at),
        (None, Dialect::Three) => Flat::default(),
    };
    if parameter.is_required() {
        context.led_out(before)?;
    }
    Ok(flat)
}

/// The media type of a parameter that is a document of its own.
fn content<'a>(parameter: &Parameter<'a>) -> Option<(&'a String, &'a Value)> {
    parameter.object.get("content")?.as_object()?.iter().next()
}

fn shape<'a>(context: &mut Context<'a>, parameter: &Parameter<'a>, flat: &Flat<'a>) -> Shape {
    let place = At { pointer: &parameter.at, name: parameter.text("name") };
    let said = Said { description: parameter.description(), examples: examples_in(parameter.object) };
    describe(context, flat, &said, &place, wanted(parameter))
}

fn path<'a>(
    context: &mut Context<'a>,
    parameter: &Parameter<'a>,
    variables: &HashSet<&str>,
    inputs: &mut Inputs,
    texts: &mut HashMap<String, String>,
) -> Result<(), LeftOut> {
    let name = parameter.text("name");
    if !variables.contains(name) {
        skip(context, parameter, "path_parameter_unused", "the path does not have it");
        return Ok(());
    }
    if texts.contains_key(name) {
        return Ok(());
    }
    let flat = flat(context, parameter)?;
    let mut shape = shape(context, parameter, &flat);
    // Why not for untyped ones: `{}` in a path is commonly a text.
    if matches!(shape.input_type, "array" | "object") {
        taken_as_text(context, parameter, &mut shape);
    }
    let matrix = format!(";{name}=");
    let around = match parameter.text("style") {
        "label" => (".", ""),
        "matrix" => (matrix.as_str(), ""),
        _ => ("", ""),
    };
    push_path(context, name, shape, &parameter.at, around, inputs, texts);
    Ok(())
}

/// An array in a path or header is one text with commas; the caller writes it.
fn taken_as_text(context: &mut Context<'_>, parameter: &Parameter<'_>, shape: &mut Shape) {
    let name = shown(parameter.text("name"));
    let message = format!("{name:?} is of type {}; it is taken as the text it becomes", shape.input_type);
    context.report.add(&parameter.at, "parameter_as_text", message);
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

fn query<'a>(
    context: &mut Context<'a>,
    parameter: &Parameter<'a>,
    credentials: &Credentials,
    inputs: &mut Inputs,
) -> Result<(), LeftOut> {
    let name = parameter.text("name");
    if credentials.sends("query", name) {
        skip(context, parameter, "credential_parameter", "the credential goes there");
        return Ok(());
    }
    if credentials.has_query(name) {
        return refuse(context, parameter, "credential_parameter", "it is where a credential goes");
    }
    let flat = flat(context, parameter)?;
    let mut shape = shape(context, parameter, &flat);
    let mut format = style::array_format(context.dialect, parameter, shape.input_type);
    if let Err(why) = &format {
        if !parameter.is_required() || shape.input_type != "array" {
            return refuse(context, parameter, "parameter_style", why);
        }
        // Why: without it the operation could not be called at all.
        taken_as_text(context, parameter, &mut shape);
        format = Ok(None);
    }
    if parameter.object.get("allowReserved").and_then(Value::as_bool) == Some(true) {
        let what = "reserved characters are percent-encoded";
        context.report.tally(&parameter.at, "allow_reserved_not_carried", what);
    }
    let array_format = format.unwrap_or_default();
    let required = parameter.is_required();
    let new = NewInput { wire: name, place: Place::Query, required, named: false, array_format };
    push(context, parameter, &new, shape, inputs)
}

/// Adds an input; a required one that has no valid name leaves the operation out.
fn push(
    context: &mut Context<'_>,
    parameter: &Parameter<'_>,
    new: &NewInput<'_>,
    shape: Shape,
    inputs: &mut Inputs,
) -> Result<(), LeftOut> {
    match inputs.push(context, new, shape, &parameter.at) {
        None if new.required => {
            refuse(context, parameter, "name_not_usable", "its name is empty or too long")
        }
        _ => Ok(()),
    }
}

fn header<'a>(
    context: &mut Context<'a>,
    parameter: &Parameter<'a>,
    credentials: &Credentials,
    inputs: &mut Inputs,
    fixed: &mut Map<String, Value>,
) -> Result<(), LeftOut> {
    let name = parameter.text("name");
    if credentials.sends("header", name) {
        skip(context, parameter, "credential_parameter", "the credential goes there");
        return Ok(());
    }
    if credentials.has_header(name) {
        return refuse(context, parameter, "credential_parameter", "it is where a credential goes");
    }
    let flat = flat(context, parameter)?;
    let required = parameter.is_required();
    let constant = if required { headers::constant(&flat, name) } else { None };
    if headers::is_sent_anyway(name) {
        match constant.filter(|_| name.eq_ignore_ascii_case("accept")) {
            Some(value) => headers::fix(name, &value, fixed),
            None => skip(context, parameter, "header_owned", "the host or the body sets this header"),
        }
        return Ok(());
    }
    if name.eq_ignore_ascii_case("authorization") || check_request_header(name, b"", &[]).is_err() {
        return refuse(context, parameter, "header_owned", "the header is the host's, or no header name");
    }
    if let Some(value) = constant {
        headers::fix(name, &value, fixed);
        return Ok(());
    }
    let mut shape = shape(context, parameter, &flat);
    if matches!(shape.input_type, "array" | "object" | "any") {
        taken_as_text(context, parameter, &mut shape);
    }
    let new = NewInput { wire: name, place: Place::Header, required, named: false, array_format: None };
    push(context, parameter, &new, shape, inputs)
}
