//! Reads a plan as the host writes it, in one pass: a guest reads one in every call, and serde's code
//! for all these types would be a fifth of a guest.

use std::borrow::Cow;
use std::str::FromStr;

use serde_json::Value;

use super::{
    ActionPlan, ArrayFormat, ErrorAction, ErrorClass, ErrorRule, InputPlace, InputPlan, KeyPlace, Method,
    OmitIf, PageParam, ResponsePlan, ResponseType, SuccessPlan,
};
use crate::json::Reader;

mod body;
mod pages;
mod poll;

impl ActionPlan {
    /// Reads a plan; `None` if it is not in the form that the host writes. Members may be in any order;
    /// an unknown one is an error, because it would have no effect.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut plan = Self::default();
        let mut reader = Reader::new(text);
        reader.members(|reader, name| {
            match name {
                "action_id" => plan.action_id = text_of(reader)?,
                "method" => plan.method = Method::parse(&reader.text()?)?,
                "url" => plan.url = text_of(reader)?,
                "query" => plan.query = pairs(reader)?,
                "headers" => plan.headers = pairs(reader)?,
                "inputs" => plan.inputs = inputs(reader)?,
                "body" => plan.body = body::read(reader)?,
                "content_type" => plan.content_type = Some(text_of(reader)?),
                "idempotency" => plan.idempotency = Some(key_place(reader)?),
                "reads" => plan.reads = scalar(reader)?,
                "credential" => plan.credential = Some(text_of(reader)?),
                "success" => plan.success = success(reader)?,
                "response" => plan.response = response(reader)?,
                "errors" => plan.errors = list(reader, error_rule)?,
                "pagination" => plan.pagination = Some(pages::read(reader)?),
                "poll" => plan.poll = Some(poll::read(reader)?),
                "tables" => plan.tables = serde_json::from_value(document(reader)?).ok()?,
                "rendered_bytes" => plan.rendered_bytes = Some(scalar(reader)?),
                _ => return None,
            }
            Some(())
        })?;
        reader.end()?;
        Some(plan)
    }
}

fn text_of(reader: &mut Reader<'_>) -> Option<String> {
    reader.text().map(Cow::into_owned)
}

/// A number or a boolean.
fn scalar<T: FromStr>(reader: &mut Reader<'_>) -> Option<T> {
    reader.raw()?.parse().ok()
}

fn document(reader: &mut Reader<'_>) -> Option<Value> {
    serde_json::from_str(reader.raw()?).ok()
}

fn list<'t, T>(
    reader: &mut Reader<'t>,
    mut entry: impl FnMut(&mut Reader<'t>) -> Option<T>,
) -> Option<Vec<T>> {
    let mut list = Vec::new();
    reader.items(|reader| {
        list.push(entry(reader)?);
        Some(())
    })?;
    Some(list)
}

fn pairs(reader: &mut Reader<'_>) -> Option<Vec<(String, String)>> {
    list(reader, |reader| {
        let [name, value]: [String; 2] = list(reader, text_of)?.try_into().ok()?;
        Some((name, value))
    })
}

fn inputs(reader: &mut Reader<'_>) -> Option<Vec<InputPlan>> {
    let mut inputs = Vec::with_capacity(8);
    reader.items(|reader| {
        // Why: most inputs are written like this.
        if let Some(name) = reader.between(br#"{"name":""#, br#"","place":"body"}"#) {
            inputs.push(InputPlan { name: name.to_owned(), ..InputPlan::default() });
            return Some(());
        }
        inputs.push(input(reader)?);
        Some(())
    })?;
    Some(inputs)
}

fn input(reader: &mut Reader<'_>) -> Option<InputPlan> {
    let mut input = InputPlan::default();
    reader.members(|reader, name| {
        match name {
            "name" => input.name = text_of(reader)?,
            "wire" => input.wire = Some(text_of(reader)?),
            "place" => input.place = place(&reader.text()?)?,
            "path" => input.path = list(reader, text_of)?,
            "array_format" => input.array_format = Some(array_format(&reader.text()?)?),
            "transform" => input.transform = Some(text_of(reader)?),
            "omit_if" => input.omit_if = omit_if(&reader.text()?)?,
            "nullable" => input.nullable = scalar(reader)?,
            "file" => input.file = scalar(reader)?,
            _ => return None,
        }
        Some(())
    })?;
    Some(input)
}

fn place(name: &str) -> Option<InputPlace> {
    Some(match name {
        "path" => InputPlace::Path,
        "query" => InputPlace::Query,
        "header" => InputPlace::Header,
        "body" => InputPlace::Body,
        _ => return None,
    })
}

fn array_format(name: &str) -> Option<ArrayFormat> {
    Some(match name {
        "repeat" => ArrayFormat::Repeat,
        "brackets" => ArrayFormat::Brackets,
        "indices" => ArrayFormat::Indices,
        "comma" => ArrayFormat::Comma,
        "pipe" => ArrayFormat::Pipe,
        "json" => ArrayFormat::Json,
        _ => return None,
    })
}

fn omit_if(name: &str) -> Option<OmitIf> {
    Some(match name {
        "null" => OmitIf::Null,
        "empty" => OmitIf::Empty,
        "never" => OmitIf::Never,
        _ => return None,
    })
}

/// `{"in": …, "name": …}`, the name as raw JSON.
fn placed<'t>(reader: &mut Reader<'t>) -> Option<(Cow<'t, str>, &'t str)> {
    let (mut place, mut raw) = (None, None);
    reader.members(|reader, name| {
        match name {
            "in" => place = Some(reader.text()?),
            "name" => raw = Some(reader.raw()?),
            _ => return None,
        }
        Some(())
    })?;
    Some((place?, raw?))
}

fn key_place(reader: &mut Reader<'_>) -> Option<KeyPlace> {
    let (place, name) = placed(reader)?;
    let mut name = Reader::new(name);
    Some(match place.as_ref() {
        "header" => KeyPlace::Header(text_of(&mut name)?),
        "query" => KeyPlace::Query(text_of(&mut name)?),
        "body" => KeyPlace::Body(list(&mut name, text_of)?),
        _ => return None,
    })
}

fn page_param(reader: &mut Reader<'_>) -> Option<PageParam> {
    match key_place(reader)? {
        KeyPlace::Header(_) => None,
        KeyPlace::Query(name) => Some(PageParam::Query(name)),
        KeyPlace::Body(steps) => Some(PageParam::Body(steps)),
    }
}

fn success(reader: &mut Reader<'_>) -> Option<SuccessPlan> {
    let mut success = SuccessPlan::default();
    reader.members(|reader, name| {
        match name {
            "status" => success.status = list(reader, scalar)?,
            "predicate" => success.predicate = Some(document(reader)?),
            _ => return None,
        }
        Some(())
    })?;
    Some(success)
}

fn response(reader: &mut Reader<'_>) -> Option<ResponsePlan> {
    let mut response = ResponsePlan::default();
    reader.members(|reader, name| {
        match name {
            "type" => {
                response.r#type = match reader.text()?.as_ref() {
                    "auto" => ResponseType::Auto,
                    "json" => ResponseType::Json,
                    "ndjson" => ResponseType::Ndjson,
                    "text" => ResponseType::Text,
                    "xml" => ResponseType::Xml,
                    "binary" => ResponseType::Binary,
                    "none" => ResponseType::None,
                    _ => return None,
                }
            }
            "root" => response.root = Some(text_of(reader)?),
            "map" => response.map = pairs(reader)?,
            _ => return None,
        }
        Some(())
    })?;
    Some(response)
}

fn error_rule(reader: &mut Reader<'_>) -> Option<ErrorRule> {
    let (mut class, mut action) = (None, None);
    let mut rule = ErrorRule {
        status: Vec::new(),
        predicate: None,
        header: None,
        class: ErrorClass::Permanent,
        action: ErrorAction::Fail,
        code_path: None,
        message_path: None,
        message: None,
        r#final: false,
    };
    reader.members(|reader, name| {
        match name {
            "status" => rule.status = list(reader, scalar)?,
            "predicate" => rule.predicate = Some(document(reader)?),
            "header" => rule.header = Some(document(reader)?),
            "class" => class = Some(ErrorClass::parse(&reader.text()?)?),
            "action" => action = Some(error_action(&reader.text()?)?),
            "code_path" => rule.code_path = Some(text_of(reader)?),
            "message_path" => rule.message_path = Some(text_of(reader)?),
            "message" => rule.message = Some(text_of(reader)?),
            "final" => rule.r#final = scalar(reader)?,
            _ => return None,
        }
        Some(())
    })?;
    Some(ErrorRule { class: class?, action: action?, ..rule })
}

fn error_action(name: &str) -> Option<ErrorAction> {
    Some(match name {
        "fail" => ErrorAction::Fail,
        "retry" => ErrorAction::Retry,
        "refresh_retry" => ErrorAction::RefreshRetry,
        "ignore" => ErrorAction::Ignore,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
