//! The shape of the body.

use serde_json::{Map, Value};

use super::super::{BodyPlan, FormStyle};
use super::text_of;
use crate::json::Reader;

/// Reads the shape; its type decides which members there are.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<BodyPlan> {
    if reader.literal(br#"{"type":"json"}"#) {
        return Some(BodyPlan::Json { wrap: None, template: None, root: None });
    }
    let (mut kind, mut style, mut template, mut variables) = (None, FormStyle::default(), None, None);
    let (mut wrap, mut root, mut query) = (None, None, None);
    reader.members(|reader, name| {
        match name {
            "type" => kind = Some(reader.text()?),
            "wrap" => wrap = Some(text_of(reader)?),
            "template" => template = Some(reader.raw()?),
            "root" => root = Some(text_of(reader)?),
            "style" => style = form_style(&reader.text()?)?,
            "query" => query = Some(text_of(reader)?),
            "variables" => variables = Some(reader.raw()?),
            _ => return None,
        }
        Some(())
    })?;
    let document = |raw: &str| serde_json::from_str::<Value>(raw).ok();
    let text = |raw: Option<&str>| text_of(&mut Reader::new(raw?));
    let whole = |raw: Option<&str>| match raw {
        Some(raw) => document(raw).map(Some),
        None => Some(None),
    };
    Some(match kind?.as_ref() {
        "none" => BodyPlan::None,
        "json" => BodyPlan::Json { wrap, template: whole(template)?, root },
        "form" => BodyPlan::Form { style, template: whole(template)? },
        "multipart" => BodyPlan::Multipart,
        "xml" => BodyPlan::Xml { template: text(template)? },
        "text" => BodyPlan::Text { template: text(template)? },
        "raw" => BodyPlan::Raw { root: root? },
        "graphql" => {
            let variables = match variables.map(document) {
                None => Map::new(),
                Some(Some(Value::Object(variables))) => variables,
                Some(_) => return None,
            };
            BodyPlan::Graphql { query: query?, variables }
        }
        _ => return None,
    })
}

fn form_style(name: &str) -> Option<FormStyle> {
    Some(match name {
        "brackets" => FormStyle::Brackets,
        "dots" => FormStyle::Dots,
        "flat" => FormStyle::Flat,
        _ => return None,
    })
}
