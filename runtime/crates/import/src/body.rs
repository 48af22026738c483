//! The request body: JSON members as inputs, or one input that is the whole body.

use serde_json::{Map, Value, json};

use crate::context::{Context, Dialect};
use crate::form;
use crate::inputs::{Inputs, NewInput, Place};
use crate::limits::HELP_CHARS_MAX;
use crate::media::{self, Media};
use crate::names::{paragraph, shown};
use crate::operation::LeftOut;
use crate::parameters::Parameter;
use crate::schema::{Flat, Kind};
use crate::select::Operation;
use crate::shape::{At, Said, Wanted, describe, examples_in};
use portcullis_core::violation::step;

/// The `body` member of the action, the default if absent; or why the operation is left out: its body is required,
/// and a definition cannot express it.
pub(crate) type Outcome = Result<Option<Value>, LeftOut>;

/// A body of the description, in either dialect.
pub(crate) struct Body<'a> {
    pub(crate) schema: Option<&'a Value>,
    /// `encoding` of a form's members.
    pub(crate) encoding: Option<&'a Value>,
    pub(crate) description: Option<&'a str>,
    /// Whole bodies that the description shows.
    pub(crate) examples: Vec<&'a Value>,
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
    // Why said: the inputs of these go to the query otherwise.
    inputs.names_body = matches!(operation.method, "delete" | "get");
    match context.dialect {
        Dialect::Two => swagger(context, operation, parameters, inputs),
        Dialect::Three => openapi(context, operation, inputs),
    }
}

fn none(operation: &Operation<'_>) -> Outcome {
    // Why written out: the default of these methods is JSON.
    let is_usual = matches!(operation.method, "post" | "put" | "patch");
    Ok(is_usual.then(|| json!({ "type": "none" })))
}

/// Whether a body of that method is carried. That of a GET only if it is required: many descriptions list one that
/// nobody reads.
fn has_body(operation: &Operation<'_>, required: bool) -> bool {
    match operation.method {
        "post" | "put" | "patch" | "delete" => true,
        "get" => required,
        _ => false,
    }
}

/// Reports a body of a method that has none.
fn bodyless(context: &mut Context<'_>, operation: &Operation<'_>, at: &str, required: bool) -> Outcome {
    let message = format!("{} has no body here", operation.method.to_ascii_uppercase());
    if required {
        return Err(("body_not_carried", format!("{message}; the API requires it")));
    }
    context.report.add(at, "body_not_carried", message);
    Ok(None)
}

fn openapi<'a>(context: &mut Context<'a>, operation: &Operation<'a>, inputs: &mut Inputs) -> Outcome {
    let body = operation.object.get("requestBody").filter(|body| body.is_object());
    let Some(body) = body else { return none(operation) };
    let at = format!("{}/requestBody", operation.at);
    let Some((body, at)) = context.part(body, &at)? else { return none(operation) };
    let content = body.get("content").and_then(Value::as_object).filter(|content| !content.is_empty());
    let Some(content) = content else { return none(operation) };
    let required = body.get("required").and_then(Value::as_bool).unwrap_or_default();
    if !has_body(operation, required) {
        return bodyless(context, operation, &at, required);
    }
    let content_at = format!("{at}/content");
    let before = context.outside();
    let offers = content.iter().map(|(name, entry)| (name.as_str(), entry.get("schema"))).collect();
    let Some((media, name)) = media::choose(context, operation.method, offers, &content_at) else {
        let names: Vec<String> = content.keys().take(5).map(|name| shown(name)).collect();
        return unsupported(context, &content_at, &names.join(", "), required);
    };
    if required {
        context.led_out(before)?;
    }
    let entry = content.get(name);
    let schema = entry.and_then(|entry| entry.get("schema"));
    let body = Body {
        schema,
        encoding: entry.and_then(|entry| entry.get("encoding")),
        description: body.get("description").and_then(Value::as_str),
        examples: entry.and_then(Value::as_object).map(examples_in).unwrap_or_default(),
        required,
        at: schema_at(format!("{content_at}/{}", step(name)), schema),
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
            json_body(context, body, media::content_type(media, name), inputs)
        }
        Media::Form => form::carry(context, body, false, inputs),
        Media::Multipart => form::carry(context, body, true, inputs),
        Media::Text => one(context, body, ("text", "string"), media::content_type(media, name), inputs),
        Media::Raw => one(context, body, ("raw", "file"), media::content_type(media, name), inputs),
    }
}

/// A body that a definition cannot express: left out if it is optional.
pub(crate) fn unsupported(context: &mut Context<'_>, at: &str, what: &str, required: bool) -> Outcome {
    if required {
        let why = format!("its body is required and a definition cannot express it: {what}");
        return Err(("body_not_supported", why));
    }
    context.report.add(at, "media_type_not_supported", format!("carried without its optional body: {what}"));
    Ok(Some(json!({ "type": "none" })))
}

fn swagger<'a>(
    context: &mut Context<'a>,
    operation: &Operation<'a>,
    parameters: &[Parameter<'a>],
    inputs: &mut Inputs,
) -> Outcome {
    let whole = parameters.iter().find(|p| p.text("in") == "body");
    let fields: Vec<&Parameter<'a>> = parameters.iter().filter(|p| p.text("in") == "formData").collect();
    let Some(first) = whole.or(fields.first().copied()) else { return none(operation) };
    let required = whole.iter().chain(&fields).any(|parameter| parameter.is_required());
    if !has_body(operation, required) {
        return bodyless(context, operation, &first.at, required);
    }
    let (own, at) = match operation.object.get("consumes") {
        Some(own) => (Some(own), format!("{}/consumes", operation.at)),
        None => (context.root.get("consumes"), "/consumes".to_owned()),
    };
    let own = own.and_then(Value::as_array);
    let consumes: Vec<&str> = own.into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(whole) = whole else {
        let multipart = form::is_multipart(&fields, &consumes);
        return form::carry_fields(context, &fields, multipart, inputs);
    };
    if fields.iter().any(|field| field.is_required()) {
        return Err(("body_not_supported", "it requires a form and another body at once".to_owned()));
    }
    let schema = whole.object.get("schema");
    let before = context.outside();
    let (media, name) = if consumes.is_empty() {
        (Media::Json, "application/json")
    } else {
        let offers = consumes.iter().map(|name| (*name, schema)).collect();
        match media::choose(context, operation.method, offers, &at) {
            Some(chosen) => chosen,
            None => return unsupported(context, &whole.at, &shown(&consumes.join(", ")), required),
        }
    };
    if required {
        context.led_out(before)?;
    }
    let body = Body {
        schema,
        encoding: None,
        description: whole.description(),
        examples: examples_in(whole.object),
        required,
        at: schema_at(whole.home.clone(), schema),
    };
    dispatch(context, media, name, &body, inputs)
}

fn json_body<'a>(
    context: &mut Context<'a>,
    body: &Body<'a>,
    content_type: Option<String>,
    inputs: &mut Inputs,
) -> Outcome {
    let flat = flat(context, body)?;
    let mut plan = Map::new();
    plan.insert("type".to_owned(), json!("json"));
    if let Some(content_type) = content_type {
        plan.insert("content_type".to_owned(), json!(content_type));
    }
    let is_object = matches!(flat.kind, Kind::Object | Kind::Unknown) && !flat.properties.is_empty();
    if is_object {
        members(context, body, &flat, MEMBER, inputs, |_, _, _, _| Ok(None))?;
    } else if is_closed(context, body) {
        return Ok((plan.len() > 1).then_some(Value::Object(plan)));
    } else {
        let place = At { pointer: &body.at, name: "body" };
        let said = Said { description: body.description, examples: body.examples.clone() };
        let mut shape = describe(context, &flat, &said, &place, MEMBER);
        if flat.nullable {
            shape.attributes.insert("nullable".to_owned(), json!(true));
        }
        plan.insert("root".to_owned(), json!(root(context, body, shape, body.required, inputs)?));
    }
    // Why written for DELETE and GET: they have no body by default.
    Ok((plan.len() > 1 || inputs.names_body).then_some(Value::Object(plan)))
}

/// The body's schema with its members. Names that it requires and does not describe are members, too.
pub(crate) fn flat<'a>(context: &mut Context<'a>, body: &Body<'a>) -> Result<Flat<'a>, LeftOut> {
    let before = context.outside();
    let mut flat = match body.schema {
        Some(schema) => context.flatten(schema, &body.at, true),
        None => Flat::default(),
    };
    if body.required {
        context.led_out(before)?;
    }
    flat.list_required();
    Ok(flat)
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
) -> Result<String, LeftOut> {
    let new = NewInput { wire: "body", place: Place::Body, required, named: true, array_format: None };
    inputs
        .push(context, &new, shape, &body.at)
        .ok_or_else(|| ("body_not_supported", "its body has no name".to_owned()))
}

/// A body that is one text or one file.
fn one<'a>(
    context: &mut Context<'a>,
    body: &Body<'a>,
    (body_type, input_type): (&str, &'static str),
    content_type: Option<String>,
    inputs: &mut Inputs,
) -> Outcome {
    let mut shape = crate::shape::Shape { input_type, attributes: Map::new(), title: None };
    let help = body.description.map(|text| paragraph(text, HELP_CHARS_MAX).0).filter(|help| !help.is_empty());
    if let Some(help) = help {
        shape.attributes.insert("help".to_owned(), json!(help));
    }
    // Why not a text: it is the body's template that names it.
    inputs.names_body &= body_type != "text";
    let name = root(context, body, shape, true, inputs)?;
    let mut plan = Map::new();
    plan.insert("type".to_owned(), json!(body_type));
    plan.insert("root".to_owned(), json!(name));
    if let Some(content_type) = content_type {
        plan.insert("content_type".to_owned(), json!(content_type));
    }
    Ok(Some(Value::Object(plan)))
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
) -> Result<(), LeftOut> {
    let mut any_required = false;
    let shown_whole: Vec<&Value> = body.examples.iter().copied().chain(flat.facet("example")).collect();
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
        let required = flat.required.contains(name);
        let before = context.outside();
        let member = context.flatten(schema, &at, false);
        if member.facet("readOnly") == Some(&Value::Bool(true)) {
            context.report.tally(&at, "read_only_skipped", "a read-only member is no input");
            continue;
        }
        if required {
            context.led_out(before)?;
        }
        let said = Said {
            description: None,
            examples: shown_whole.iter().filter_map(|whole| whole.get(name)).collect(),
        };
        let mut shape = describe(context, &member, &said, &At { pointer: &at, name }, wanted);
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
        any_required |= required;
        let new = NewInput { wire: name, place: Place::Body, required, named: false, array_format };
        if inputs.push(context, &new, shape, &at).is_none() && required {
            let why = format!("its body requires {:?}, which is no name of an input", shown(name));
            return Err(("name_not_usable", why));
        }
    }
    if any_required && !body.required {
        let what = "a body that may be absent has required members; the inputs are required";
        context.report.tally(&body.at, "optional_body_required", what);
    }
    if flat.open {
        let message = "the body allows members that are not listed; they are not inputs";
        context.report.add(&body.at, "additional_properties", message);
    }
    Ok(())
}
