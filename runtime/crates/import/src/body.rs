//! The request body: JSON members as inputs, or one input that is the whole body.

use serde_json::{Map, Value, json};

use crate::context::{Context, Dialect};
use crate::form;
use crate::inputs::{Inputs, NewInput, Place};
use crate::media::{self, Media, essence};
use crate::names::shown;
use crate::parameters::Parameter;
use crate::schema::{Flat, Kind};
use crate::select::Operation;
use crate::shape::{At, Wanted, describe};
use portcullis_core::violation::step;

/// The result of importing a body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// The `body` member of the action; the default, JSON, when absent.
    Carried(Option<Value>),
    /// The body is required, and a definition cannot express it.
    LeftOut(String),
}

/// A body of the description, in either dialect.
pub(crate) struct Body<'a> {
    pub(crate) schema: Option<&'a Value>,
    /// `encoding` of a form's members.
    pub(crate) encoding: Option<&'a Value>,
    pub(crate) description: Option<&'a str>,
    pub(crate) required: bool,
    /// Pointer to the schema.
    pub(crate) at: String,
}

const MEMBER: Wanted = Wanted { files: false, sends_default: false, is_form: false };

/// Adds the body's inputs to `inputs`.
pub(crate) fn carry<'a>(
    context: &mut Context<'a>,
    operation: &Operation<'a>,
    parameters: &[Parameter<'a>],
    inputs: &mut Inputs,
) -> Outcome {
    let has_body = matches!(operation.method, "post" | "put" | "patch" | "delete");
    // Why said: the inputs of a DELETE go to the query otherwise.
    inputs.names_body = operation.method == "delete";
    match context.dialect {
        Dialect::Two => swagger(context, operation, parameters, has_body, inputs),
        Dialect::Three => openapi(context, operation, has_body, inputs),
    }
}

fn none(operation: &Operation<'_>) -> Outcome {
    // Why written out: the default of these methods is JSON.
    let is_usual = matches!(operation.method, "post" | "put" | "patch");
    Outcome::Carried(is_usual.then(|| json!({ "type": "none" })))
}

/// Reports a body of a method that has none in a definition.
fn bodyless(context: &mut Context<'_>, operation: &Operation<'_>, at: &str, required: bool) -> Outcome {
    let needed = if required { "; the API requires it" } else { "" };
    let message = format!("{} has no body here{needed}", operation.method.to_ascii_uppercase());
    context.report.add(at, "body_not_carried", message);
    Outcome::Carried(None)
}

fn openapi<'a>(
    context: &mut Context<'a>,
    operation: &Operation<'a>,
    has_body: bool,
    inputs: &mut Inputs,
) -> Outcome {
    let body = operation.object.get("requestBody").filter(|body| body.is_object());
    let Some(body) = body else { return none(operation) };
    let at = format!("{}/requestBody", operation.at);
    let Some((body, at)) = context.object_at(body, &at) else {
        return Outcome::LeftOut("its body cannot be read".to_owned());
    };
    let content = body.get("content").and_then(Value::as_object).filter(|content| !content.is_empty());
    let Some(content) = content else { return none(operation) };
    let required = body.get("required").and_then(Value::as_bool).unwrap_or_default();
    if !has_body {
        return bodyless(context, operation, &at, required);
    }
    let content_at = format!("{at}/content");
    let Some((media, name, entry)) = media::choose(context, content, &content_at) else {
        let names: Vec<String> = content.keys().take(5).map(|name| shown(name)).collect();
        return unsupported(context, &content_at, &names.join(", "), required);
    };
    let body = Body {
        schema: entry.get("schema"),
        encoding: entry.get("encoding"),
        description: body.get("description").and_then(Value::as_str),
        required,
        at: schema_at(format!("{content_at}/{}", step(name)), entry.get("schema")),
    };
    dispatch(context, media, name, &body, inputs)
}

/// The pointer to a schema, or to what should have one.
fn schema_at(mut holder: String, schema: Option<&Value>) -> String {
    if schema.is_some() {
        holder.push_str("/schema");
    }
    holder
}

fn dispatch<'a>(
    context: &mut Context<'a>,
    media: Media,
    name: &str,
    body: &Body<'a>,
    inputs: &mut Inputs,
) -> Outcome {
    match media {
        Media::Json | Media::JsonLike | Media::Any => {
            let content_type = (media == Media::JsonLike).then(|| essence(name));
            json_body(context, body, content_type, inputs)
        }
        Media::Form => form::carry(context, body, false, inputs),
        Media::Multipart => form::carry(context, body, true, inputs),
        Media::Text => text(context, body, inputs),
    }
}

/// A body that a definition cannot express: left out if it is optional.
pub(crate) fn unsupported(context: &mut Context<'_>, at: &str, what: &str, required: bool) -> Outcome {
    if required {
        return Outcome::LeftOut(format!("its body is required and a definition cannot express it: {what}"));
    }
    context.report.add(at, "media_type_not_supported", format!("carried without its optional body: {what}"));
    Outcome::Carried(Some(json!({ "type": "none" })))
}

fn swagger<'a>(
    context: &mut Context<'a>,
    operation: &Operation<'a>,
    parameters: &[Parameter<'a>],
    has_body: bool,
    inputs: &mut Inputs,
) -> Outcome {
    let whole = parameters.iter().find(|p| p.text("in") == "body");
    let fields: Vec<&Parameter<'a>> = parameters.iter().filter(|p| p.text("in") == "formData").collect();
    let Some(first) = whole.or(fields.first().copied()) else { return none(operation) };
    if !has_body {
        return bodyless(context, operation, &first.at, first.is_required());
    }
    let own = operation.object.get("consumes").or(context.root.get("consumes")).and_then(Value::as_array);
    let consumes: Vec<&str> = own.into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(whole) = whole else {
        let multipart = form::is_multipart(&fields, &consumes);
        return form::carry_fields(context, &fields, multipart, inputs);
    };
    let allowed = |media: &Media| media.is_json() || *media == Media::Text;
    let chosen = media::best(consumes.iter().copied()).filter(|(media, _)| allowed(media));
    let (media, name) = match chosen {
        Some(chosen) => chosen,
        None if consumes.is_empty() => (Media::Json, "application/json"),
        None => return unsupported(context, &whole.at, &shown(&consumes.join(", ")), whole.is_required()),
    };
    let body = Body {
        schema: whole.object.get("schema"),
        encoding: None,
        description: whole.description(),
        required: whole.is_required(),
        at: schema_at(whole.home.clone(), whole.object.get("schema")),
    };
    dispatch(context, media, name, &body, inputs)
}

fn json_body<'a>(
    context: &mut Context<'a>,
    body: &Body<'a>,
    content_type: Option<String>,
    inputs: &mut Inputs,
) -> Outcome {
    let flat = match body.schema {
        Some(schema) => context.flatten(schema, &body.at, true),
        None => Flat::default(),
    };
    let mut plan = Map::new();
    plan.insert("type".to_owned(), json!("json"));
    if let Some(content_type) = content_type {
        plan.insert("content_type".to_owned(), json!(content_type));
    }
    let is_object = matches!(flat.kind, Kind::Object | Kind::Unknown) && !flat.properties.is_empty();
    if is_object {
        members(context, body, &flat, MEMBER, inputs, |_, _, _, _| Ok(None));
    } else if is_closed(context, body) {
        return Outcome::Carried((plan.len() > 1).then_some(Value::Object(plan)));
    } else {
        let place = At { pointer: &body.at, name: "body" };
        let shape = describe(context, &flat, body.description, &place, MEMBER);
        let Some(name) = root(context, body, shape, body.required, inputs) else {
            return Outcome::LeftOut("its body has no name".to_owned());
        };
        plan.insert("root".to_owned(), json!(name));
    }
    // Why written for DELETE: it has no body by default.
    Outcome::Carried((plan.len() > 1 || inputs.names_body).then_some(Value::Object(plan)))
}

/// An object that allows no member at all.
fn is_closed(context: &mut Context<'_>, body: &Body<'_>) -> bool {
    let schema = body.schema.and_then(|schema| crate::refs::resolve(context.root, schema).ok());
    schema.is_some_and(|schema| {
        let composed = ["allOf", "oneOf", "anyOf"].iter().any(|keyword| schema.get(keyword).is_some());
        !composed && schema.get("additionalProperties") == Some(&Value::Bool(false))
    })
}

/// The one input that is the whole body.
fn root<'a>(
    context: &mut Context<'a>,
    body: &Body<'a>,
    shape: crate::shape::Shape,
    required: bool,
    inputs: &mut Inputs,
) -> Option<String> {
    let new = NewInput { wire: "body", place: Place::Body, required, named: true, array_format: None };
    inputs.push(context, &new, shape, &body.at)
}

fn text<'a>(context: &mut Context<'a>, body: &Body<'a>, inputs: &mut Inputs) -> Outcome {
    let shape = crate::shape::Shape { input_type: "string", attributes: Map::new(), title: None };
    match root(context, body, shape, true, inputs) {
        Some(name) => Outcome::Carried(Some(json!({ "type": "text", "root": name }))),
        None => Outcome::LeftOut("its body has no name".to_owned()),
    }
}

/// Adds every member of an object to `inputs`. `format` returns how an array or object is written,
/// or why it cannot be.
pub(crate) fn members<'a>(
    context: &mut Context<'a>,
    body: &Body<'a>,
    flat: &Flat<'a>,
    wanted: Wanted,
    inputs: &mut Inputs,
    format: impl Fn(&mut Context<'a>, &str, &Flat<'a>, &'static str) -> Result<Option<&'static str>, String>,
) {
    let mut any_required = false;
    for (name, schema) in &flat.properties {
        let inline = body
            .schema
            .and_then(|s| s.get("properties")?.get(name))
            .is_some_and(|own| std::ptr::eq(own, *schema));
        let at = if inline && name.len() <= crate::limits::WIRE_NAME_CHARS_MAX * 4 {
            format!("{}/properties/{}", body.at, step(name))
        } else {
            body.at.clone()
        };
        let member = context.flatten(schema, &at, false);
        if member.facet("readOnly") == Some(&Value::Bool(true)) {
            context.report.tally(&at, "read_only_skipped", "a read-only member is no input");
            continue;
        }
        let mut shape = describe(context, &member, None, &At { pointer: &at, name }, wanted);
        if member.nullable && !wanted.is_form {
            shape.attributes.insert("nullable".to_owned(), json!(true));
        }
        let array_format = match format(context, name, &member, shape.input_type) {
            Ok(format) => format,
            Err(why) => {
                context.report.add(&at, "encoding_not_carried", format!("{:?}: {why}", shown(name)));
                None
            }
        };
        let required = flat.required.contains(name);
        any_required |= required;
        let new = NewInput { wire: name, place: Place::Body, required, named: false, array_format };
        inputs.push(context, &new, shape, &at);
    }
    if any_required && !body.required {
        let what = "a body that may be absent has required members; the inputs are required";
        context.report.tally(&body.at, "optional_body_required", what);
    }
    if flat.open {
        let message = "the body allows members that are not listed; they are not inputs";
        context.report.add(&body.at, "additional_properties", message);
    }
}
