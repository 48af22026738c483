//! Form bodies: urlencoded and multipart, from a schema (3.x) or from `formData` parameters (2.0).

use serde_json::{Value, json};

use crate::body::{Body, Outcome, flat, members, unsupported};
use crate::context::Context;
use crate::inputs::{Inputs, NewInput, Place};
use crate::media::essence;
use crate::names::shown;
use crate::parameters::{Parameter, collection_format};
use crate::schema::{Flat, Kind};
use crate::shape::{At, Said, Wanted, describe, examples_in};

fn plan(multipart: bool) -> Outcome {
    let plan = if multipart {
        json!({ "type": "multipart" })
    } else {
        json!({ "type": "form", "form_style": "brackets" })
    };
    Ok(Some(plan))
}

const fn wanted(multipart: bool) -> Wanted {
    Wanted { files: multipart, sends_default: false, is_form: true }
}

/// A form from a schema's members.
pub(crate) fn carry<'a>(
    context: &mut Context<'a>,
    body: &Body<'a>,
    multipart: bool,
    inputs: &mut Inputs,
) -> Outcome {
    let flat = flat(context, body)?;
    if flat.properties.is_empty() && (flat.open || !matches!(flat.kind, Kind::Object | Kind::Unknown)) {
        return unsupported(context, &body.at, "a form without listed members", body.required);
    }
    let encoding = body.encoding;
    members(context, body, &flat, wanted(multipart), inputs, |context, name, member, input_type| {
        let own = encoding.and_then(|all| all.get(name));
        if multipart { Ok(None) } else { array_format(context, own, member, input_type, &body.at) }
    })?;
    plan(multipart)
}

/// How an array of a urlencoded form is written: as its `encoding` says, otherwise one pair per entry.
fn array_format<'a>(
    context: &mut Context<'a>,
    encoding: Option<&Value>,
    member: &Flat<'a>,
    input_type: &str,
    at: &str,
) -> Result<Option<&'static str>, String> {
    if input_type != "array" {
        return Ok(None);
    }
    let text = |name: &str| encoding.and_then(|e| e.get(name)?.as_str()).unwrap_or_default();
    let explode = encoding.and_then(|e| e.get("explode")?.as_bool());
    if essence(text("contentType")).ends_with("json") {
        return Ok(Some("json"));
    }
    // Why: pairs with one name cannot hold objects; `form_style` can.
    let items = member.facet("items").map(|items| context.flatten(items, at, false).kind);
    if matches!(items, Some(Kind::Object | Kind::Array)) {
        return Ok(Some("brackets"));
    }
    match (text("style"), explode.unwrap_or(true)) {
        ("" | "form", true) => Ok(Some("repeat")),
        ("" | "form", false) => Ok(Some("comma")),
        ("deepObject", _) => Ok(Some("brackets")),
        ("pipeDelimited", _) if explode != Some(true) => Ok(Some("pipe")),
        (other, _) => Err(format!("an array in style {other:?} is written with brackets")),
    }
}

/// Whether `formData` parameters make a multipart body.
pub(crate) fn is_multipart(fields: &[&Parameter<'_>], consumes: &[&str]) -> bool {
    let names = |wanted: &str| consumes.iter().any(|name| essence(name) == wanted);
    let file = fields.iter().any(|field| field.text("type") == "file");
    file || (names("multipart/form-data") && !names("application/x-www-form-urlencoded"))
}

/// A form from 2.0's `formData` parameters.
pub(crate) fn carry_fields<'a>(
    context: &mut Context<'a>,
    fields: &[&Parameter<'a>],
    multipart: bool,
    inputs: &mut Inputs,
) -> Outcome {
    for field in fields {
        let name = field.text("name");
        let flat = context.flatten_object(field.object, &field.at);
        let place = At { pointer: &field.at, name };
        let said = Said { description: field.description(), examples: examples_in(field.object) };
        let shape = describe(context, &flat, &said, &place, wanted(multipart));
        let mut array_format = None;
        if shape.input_type == "array" && !multipart {
            match collection_format(field.text("collectionFormat")) {
                Ok(format) => array_format = Some(format),
                Err(why) => {
                    context.report.add(
                        &field.at,
                        "encoding_not_carried",
                        format!("{why}; written with brackets"),
                    );
                }
            }
        }
        let required = field.is_required();
        let new = NewInput { wire: name, place: Place::Body, required, named: false, array_format };
        if inputs.push(context, &new, shape, &field.at).is_none() && required {
            let why = format!("its form requires {:?}, which is no name of an input", shown(name));
            return Err(("name_not_usable", why));
        }
    }
    plan(multipart)
}
