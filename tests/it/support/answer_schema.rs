//! Every answer of the API, checked against the OpenAPI document: its status, its media type and its JSON.
//!
//! The client calls it for each response. Schemas are closed first, so that a member which the document does not show
//! fails as well.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use jsonschema::Validator;
use portcullis_api::{ROUTES, Route, openapi};
use portcullis_core::structure::{Unknown, close};
use serde_json::{Value, json};

const PROBLEM: &str = "application/problem+json";

/// Panics where an answer is not what the document says of its operation.
#[track_caller]
pub(crate) fn check(method: &str, path: &str, status: u16, headers: &HeaderMap, body: &[u8]) {
    let what = format!("{method} {path} answers {status}");
    let media = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap());
    let media = media.map(|media| media.split(';').next().unwrap().trim().to_owned());
    let Some(route) = route(method, path) else {
        // No operation: not found, or not with this method.
        assert!(matches!(status, 404 | 405), "{what}");
        assert_eq!(media.as_deref(), Some(PROBLEM), "{what}");
        return assert_fits(&what, &validator(&json!({ "$ref": "#/components/schemas/Problem" })), body);
    };
    let operation = &openapi::document()["paths"][route.path][route.method.to_lowercase()];
    let response = &operation["responses"][status.to_string()];
    assert!(response.is_object(), "{what}, which {} does not list", route.operation);
    let Some(media) = media else {
        assert!(response.get("content").is_none(), "{what} without a body");
        return assert!(body.is_empty(), "{what} with a body of no type");
    };
    let schema = &response["content"][&media]["schema"];
    assert!(schema.is_object(), "{what} with {media}, which {} does not list", route.operation);
    if media.ends_with("json") && media != "application/x-ndjson" {
        assert_fits(&what, &validator(schema), body);
    }
}

#[track_caller]
fn assert_fits(what: &str, validator: &Validator, body: &[u8]) {
    let document: Value = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{what}: {error}"));
    let errors: Vec<String> =
        validator.iter_errors(&document).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{what}, against its schema: {errors:#?} in {document}");
}

/// A validator of a schema of the document; made once.
fn validator(schema: &Value) -> Arc<Validator> {
    static MADE: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    static COMPONENTS: LazyLock<Value> = LazyLock::new(|| {
        let mut schemas = openapi::document()["components"]["schemas"].clone();
        schemas.as_object_mut().unwrap().values_mut().for_each(|schema| close(schema, Unknown::Refused));
        json!({ "schemas": schemas })
    });
    let mut made = MADE.lock().unwrap();
    let make = || {
        let mut whole = schema.clone();
        whole["components"] = COMPONENTS.clone();
        Arc::new(jsonschema::draft202012::new(&whole).unwrap())
    };
    Arc::clone(made.entry(schema.to_string()).or_insert_with(make))
}

/// The route of a request: of all whose path fits, the one with the most fixed segments, if it has this method.
fn route(method: &str, path: &str) -> Option<&'static Route> {
    let path: Vec<&str> = path.split('?').next().unwrap().split('/').collect();
    let fits = |route: &&Route| {
        let pattern = route.path.split('/');
        pattern.clone().count() == path.len()
            && pattern
                .zip(&path)
                .all(|(want, have)| if want.starts_with('{') { !have.is_empty() } else { want == *have })
    };
    let fixed = |route: &&Route| route.path.split('/').filter(|segment| !segment.starts_with('{')).count();
    let nearest = ROUTES.iter().filter(fits).max_by_key(fixed)?.path;
    ROUTES.iter().find(|route| route.path == nearest && route.method == method)
}

#[test]
fn an_answer_that_is_not_what_the_document_says_fails() {
    let fails = |method: &'static str, path: &'static str, status: u16, media: &'static str, body: &Value| {
        let body = body.to_string();
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, media.parse().unwrap())]);
        std::panic::catch_unwind(|| check(method, path, status, &headers, body.as_bytes())).is_err()
    };
    let org = json!({ "org": "acme", "created_at": "2026-01-01T00:00:00Z" });
    assert!(!fails("GET", "/admin/org/acme", 200, "application/json", &org), "the neighbour that passes");
    assert!(fails("GET", "/admin/org/acme", 201, "application/json", &org), "another status");
    assert!(fails("GET", "/admin/org/acme", 200, "text/plain", &org), "another type");
    assert!(fails("GET", "/admin/org/acme", 200, "application/json", &json!({ "org": "acme" })), "a lack");
    let more = json!({ "org": "acme", "created_at": "2026-01-01T00:00:00Z", "hash": "x" });
    assert!(fails("GET", "/admin/org/acme", 200, "application/json", &more), "a member too many");
    assert!(fails("GET", "/admin/org/acme", 404, PROBLEM, &json!({ "code": "org_not_found" })), "no problem");
    assert_eq!(route("POST", "/admin/connector/import").unwrap().operation, "importConnector");
    assert!(route("GET", "/admin/connector/import").is_none());
}
