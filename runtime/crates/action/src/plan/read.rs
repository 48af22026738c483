//! Reading a plan quickly: a guest reads one in every call.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use super::{ActionPlan, BodyPlan, InputPlace, InputPlan, Method};
use crate::json::Reader;

impl ActionPlan {
    /// Reads a plan as the host writes it.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        // Why two ways: the usual members are read in one pass; what is not usual, or not right, is for
        // serde, which also says what is wrong.
        quick(text).map_or_else(|| serde_json::from_str(text), Ok)
    }
}

fn quick(text: &str) -> Option<ActionPlan> {
    let mut plan = ActionPlan::default();
    let mut reader = Reader::new(text);
    reader.members(|reader, name| {
        match name {
            "action_id" => plan.action_id = owned(reader)?,
            "method" => plan.method = Method::parse(reader.string()?)?,
            "url" => plan.url = owned(reader)?,
            "query" => plan.query = pairs(reader)?,
            "headers" => plan.headers = pairs(reader)?,
            "inputs" => plan.inputs = inputs(reader)?,
            "body" => plan.body = body(reader)?,
            "content_type" => plan.content_type = Some(owned(reader)?),
            "idempotency" => plan.idempotency = other(reader)?,
            "credential" => plan.credential = Some(owned(reader)?),
            "success" => plan.success = other(reader)?,
            "response" => plan.response = other(reader)?,
            "errors" => plan.errors = other(reader)?,
            "pagination" => plan.pagination = other(reader)?,
            _ => return None,
        }
        Some(())
    })?;
    reader.end()?;
    Some(plan)
}

fn owned(reader: &mut Reader<'_>) -> Option<String> {
    reader.string().map(str::to_owned)
}

fn other<T: DeserializeOwned>(reader: &mut Reader<'_>) -> Option<T> {
    serde_json::from_str(&reader.value()?).ok()
}

fn pairs(reader: &mut Reader<'_>) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    reader.items(|reader| {
        let mut texts = [None, None];
        let mut places = texts.iter_mut();
        reader.items(|reader| {
            *places.next()? = Some(owned(reader)?);
            Some(())
        })?;
        let [Some(name), Some(value)] = texts else { return None };
        pairs.push((name, value));
        Some(())
    })?;
    Some(pairs)
}

fn inputs(reader: &mut Reader<'_>) -> Option<Vec<InputPlan>> {
    let mut inputs = Vec::with_capacity(8);
    reader.items(|reader| {
        // Why: most inputs are written like that, and plans are read in every call.
        if let Some(name) = reader.between(br#"{"name":""#, br#"","place":"body"}"#) {
            inputs.push(InputPlan { name: name.to_owned(), ..InputPlan::default() });
            return Some(());
        }
        let mut input = InputPlan::default();
        reader.members(|reader, name| {
            match name {
                "name" => input.name = owned(reader)?,
                "wire" => input.wire = Some(owned(reader)?),
                "place" => input.place = place(reader.string()?)?,
                "path" => input.path = texts(reader)?,
                "array_format" => input.array_format = other(reader)?,
                "transform" => input.transform = Some(owned(reader)?),
                "omit_if" => input.omit_if = other(reader)?,
                "file" => input.file = other(reader)?,
                _ => return None,
            }
            Some(())
        })?;
        inputs.push(input);
        Some(())
    })?;
    Some(inputs)
}

fn texts(reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    reader.items(|reader| {
        texts.push(owned(reader)?);
        Some(())
    })?;
    Some(texts)
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

fn body(reader: &mut Reader<'_>) -> Option<BodyPlan> {
    let text: Cow<'_, str> = reader.value()?;
    Some(match text.as_ref() {
        r#"{"type":"none"}"# => BodyPlan::None,
        r#"{"type":"json"}"# => BodyPlan::Json { wrap: None, template: None, root: None },
        r#"{"type":"multipart"}"# => BodyPlan::Multipart,
        text => return serde_json::from_str(text).ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn whole() -> Value {
        json!({
            "action_id": "a", "method": "PATCH", "url": "https://a.example.com/{{input.id}}",
            "query": [["a", "{{input.a}}"], ["b", "2"]], "headers": [["X-A", "1"]],
            "inputs": [
                { "name": "id", "place": "path" },
                { "name": "b", "wire": "B", "place": "body", "path": ["x", "0"], "array_format": "comma",
                  "transform": "lower", "omit_if": "empty", "file": true },
            ],
            "body": { "type": "json", "wrap": "w", "template": { "a": [1.50, "\u{e9}\"\n"] } },
            "content_type": "application/x", "idempotency": { "in": "header", "name": "K" },
            "credential": "default", "success": { "status": [200], "predicate": { "path": "/ok", "eq": true } },
            "response": { "type": "json", "map": [["a", "/a"]] },
            "errors": [{ "class": "auth", "action": "fail" }],
            "pagination": { "kind": { "type": "link_header" }, "items": "", "max_pages": 1, "max_items": 2 },
        })
    }

    #[test]
    fn every_member_is_read_as_serde_reads_it() {
        let text = whole().to_string();
        let quick = quick(&text);
        assert_eq!(quick, Some(serde_json::from_str(&text).unwrap()));
        assert_eq!(
            ActionPlan::read(&serde_json::to_string_pretty(&whole()).unwrap()).unwrap(),
            quick.unwrap()
        );
        assert_eq!(ActionPlan::read("{}").unwrap(), ActionPlan::default());
        let written = serde_json::to_string(&ActionPlan::default()).unwrap();
        assert_eq!(super::quick(&written), Some(ActionPlan::default()));
    }

    #[test]
    fn what_is_unusual_or_wrong_is_for_serde() {
        for text in [
            r#"{"action_id":"a\u0041"}"#,
            r#"{"unknown":1}"#,
            r#"{"credential":null}"#,
            r#"{"inputs":[{"name":"a","more":1}]}"#,
            r#"{"query":[["a","b","c"]]}"#,
            r#"{"query":[["a"]]}"#,
            r#"{"method":"get"}"#,
            r#"{"url":1}"#,
            "[]",
            "{",
            r#"{"url":"a"}}"#,
        ] {
            let (read, serde) = (ActionPlan::read(text), serde_json::from_str::<ActionPlan>(text));
            assert_eq!(read.map_err(|e| e.to_string()), serde.map_err(|e| e.to_string()), "{text}");
        }
    }
}
