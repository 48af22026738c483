//! The definition's JSON Schema as it is published, for editors and validators of others.
//!
//! It accepts what the structural check accepts. Beyond that it offers of `auth` only what the `auth_type` reads, has an
//! `$id`, and uses no word that the standard (2020-12) does not have: validators in their strict mode compile it.

use serde_json::{Map, Value, json};

use super::AuthType;
use super::structure::schema;
use crate::connector::members_of;

/// The schema's own name.
const ID: &str = "urn:portcullis:definition:1";
/// Where the shape of `auth` is.
const AUTH: &str = "AuthDef";
/// Where the shape of a method is.
const METHOD: &str = "AuthMethodDef";

/// The JSON Schema (2020-12) of a definition, for others.
#[must_use]
pub fn published_schema() -> Value {
    let mut schema = schema();
    make_standard(&mut schema);
    let shapes = schema.pointer("/$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let named = AuthType::ALL.map(|auth_type| (name(auth_type), auth_of(auth_type, &shapes)));
    if let Some(shapes) = schema.pointer_mut("/$defs").and_then(Value::as_object_mut) {
        shapes.extend(named);
        if let Some(method) = shapes.get_mut(METHOD).and_then(Value::as_object_mut) {
            choose(method);
        }
        shapes.shift_remove(AUTH);
    }
    if let Some(root) = schema.as_object_mut() {
        root.insert("$id".to_owned(), Value::from(ID));
        choose(root);
    }
    schema
}

fn name(auth_type: AuthType) -> String {
    format!("auth_{}", auth_type.as_str())
}

/// The shape of `auth` for one auth type: of all members those that it reads.
fn auth_of(auth_type: AuthType, shapes: &Map<String, Value>) -> Value {
    let mut shape = shapes.get(AUTH).cloned().unwrap_or_default();
    let read = members_of(auth_type);
    if let Some(members) = shape.get_mut("properties").and_then(Value::as_object_mut) {
        members.retain(|name, _| read.contains(&name.as_str()));
    }
    shape
}

/// Makes the shape of `auth` depend on the `auth_type` beside it.
fn choose(shape: &mut Map<String, Value>) {
    let one = |auth_type: AuthType| {
        json!({
            "if": { "properties": { "auth_type": { "const": auth_type.as_str() } }, "required": ["auth_type"] },
            "then": { "properties": { "auth": { "$ref": format!("#/$defs/{}", name(auth_type)) } } },
        })
    };
    shape.insert("allOf".to_owned(), AuthType::ALL.into_iter().map(one).collect());
    let auth = shape.get_mut("properties").and_then(|members| members.get_mut("auth"));
    if let Some(auth) = auth.and_then(Value::as_object_mut) {
        auth.shift_remove("$ref");
        auth.insert("type".to_owned(), Value::from("object"));
    }
}

/// Takes out what only this product knows, and writes formats of numbers as ranges.
fn make_standard(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.retain(|keyword, _| !keyword.starts_with("x-"));
            let format = map.get("format").and_then(Value::as_str).map(str::to_owned);
            if let Some((least, most)) = format.as_deref().and_then(range) {
                map.shift_remove("format");
                if let Some(least) = least.filter(|_| !map.contains_key("minimum")) {
                    map.insert("minimum".to_owned(), Value::from(least));
                }
                if let Some(most) = most.filter(|_| !map.contains_key("maximum")) {
                    map.insert("maximum".to_owned(), Value::from(most));
                }
            }
            for (keyword, value) in map {
                match (keyword.as_str(), value) {
                    // Why separate: these map names to schemas, and a member may have the name of a keyword.
                    ("properties" | "patternProperties" | "$defs", Value::Object(named)) => {
                        named.values_mut().for_each(make_standard);
                    }
                    ("const" | "default" | "enum" | "examples", _) => {}
                    (_, value) => make_standard(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_standard),
        _ => {}
    }
}

/// The range of a number's format; `None` for another format. Of numbers with 64 bits and of fractions only the lower end:
/// JSON has no exact upper one.
fn range(format: &str) -> Option<(Option<i64>, Option<i64>)> {
    Some(match format {
        "uint8" => (Some(0), Some(i64::from(u8::MAX))),
        "uint16" => (Some(0), Some(i64::from(u16::MAX))),
        "uint32" => (Some(0), Some(i64::from(u32::MAX))),
        "uint64" | "uint" => (Some(0), None),
        "int8" => (Some(i64::from(i8::MIN)), Some(i64::from(i8::MAX))),
        "int16" => (Some(i64::from(i16::MIN)), Some(i64::from(i16::MAX))),
        "int32" => (Some(i64::from(i32::MIN)), Some(i64::from(i32::MAX))),
        "int64" | "int" | "double" | "float" => (None, None),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(auth_type: &str, auth: Value) -> Value {
        json!({
            "$schema": "./definition.schema.json",
            "connector_id": "a", "display_name": "A", "auth_type": auth_type, "auth": auth,
            "actions": [{ "action_id": "x", "http_method": "GET", "url_template": "https://a.example.com/" }],
            "allowed_domains": ["a.example.com"],
        })
    }

    #[test]
    fn the_published_schema_offers_of_auth_what_the_type_reads() {
        let validator = jsonschema::draft202012::new(&published_schema()).unwrap();
        for (auth_type, auth, accepted) in [
            ("api_key", json!({ "in": "header", "name": "X-Key", "x_note": 1 }), true),
            ("api_key", json!({ "token_url": "https://a.example.com/token" }), false),
            ("oauth2_client_credentials", json!({ "token_url": "https://a.example.com/token" }), true),
            ("oauth2_client_credentials", json!({ "client_auth": "private_key_jwt", "alg": "ES256" }), true),
            ("oauth2_client_credentials", json!({ "service": "s3" }), false),
            ("aws_sigv4", json!({ "service": "s3" }), true),
            ("custom", json!({ "custom": { "headers": { "X-A": "{{cred.a}}" } } }), true),
            ("custom", json!({ "headers": { "X-A": "{{cred.a}}" } }), false),
            ("none", json!({}), true),
            ("none", json!({ "name": "X" }), false),
            ("digest", json!({}), false),
        ] {
            let whole = document(auth_type, auth.clone());
            assert_eq!(validator.is_valid(&whole), accepted, "{auth_type} {auth}");
            let mut method = document("none", json!({}));
            method["auth_methods"] = json!([{ "id": "m", "auth_type": auth_type, "auth": auth }]);
            assert_eq!(validator.is_valid(&method), accepted, "as a method: {auth_type} {auth}");
        }
    }

    #[test]
    fn every_word_and_format_is_of_the_standard() {
        fn look(schema: &Value) {
            if let Value::Object(map) = schema {
                for (keyword, value) in map {
                    assert!(!keyword.starts_with("x-"), "{keyword}");
                    match (keyword.as_str(), value) {
                        ("format", _) => panic!("{value} may be unknown to a validator"),
                        ("properties" | "patternProperties" | "$defs", Value::Object(named)) => {
                            named.values().for_each(look);
                        }
                        ("const" | "default" | "enum" | "examples", _) => {}
                        (_, Value::Array(all)) => all.iter().for_each(look),
                        (_, value) => look(value),
                    }
                }
            }
        }
        let schema = published_schema();
        look(&schema);
        assert_eq!(schema["$id"], ID);
        assert_eq!(schema["$defs"]["auth_api_key"]["properties"].as_object().unwrap().len(), 6);
        assert_eq!(schema["$defs"].get(AUTH), None);
        let text = schema.to_string();
        assert!(!text.contains("#/$defs/AuthDef\""), "nothing refers to the shape of all types together");
    }
}
