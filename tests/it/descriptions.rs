//! API descriptions become drafts that the rules of an upload accept, with a report of what was not
//! imported.
//!
//! Three small ones, one of each version. Vendors' whole descriptions are compared with their drafts by the tests of
//! the import's own crate.

use portcullis_core::connector::Connector;
use portcullis_core::limits::Limits;
use portcullis_import::{ImportOptions, Imported, import};
use serde_json::{Value, json};

fn small() -> Vec<(String, Value)> {
    let operation = |body: Value| {
        let mut operation =
            json!({ "operationId": "create", "responses": { "200": { "description": "ok" } } });
        operation.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        operation
    };
    let schema = json!({ "type": "object", "required": ["name"], "properties": {
        "name": { "type": "string", "maxLength": 50 }, "tags": { "type": "array", "items": { "type": "string" } } } });
    let content = json!({ "requestBody": { "required": true, "content": { "application/json": { "schema": schema } } } });
    let form = json!({ "consumes": ["application/x-www-form-urlencoded"], "parameters": [
        { "name": "name", "in": "formData", "type": "string", "required": true } ] });
    let info = json!({ "title": "Things", "version": "1" });
    let server = json!([{ "url": "https://{region}.example-saas.com/v1", "variables": { "region": { "default": "eu", "enum": ["eu", "us"] } } }]);
    vec![
        (
            "2.0".to_owned(),
            json!({ "swagger": "2.0", "info": info, "host": "api.example-saas.com", "schemes": ["https"],
            "securityDefinitions": { "key": { "type": "apiKey", "in": "header", "name": "X-Key" } },
            "security": [{ "key": [] }], "paths": { "/things": { "post": operation(form) } } }),
        ),
        (
            "3.0".to_owned(),
            json!({ "openapi": "3.0.3", "info": info, "servers": server,
            "paths": { "/things": { "post": operation(content.clone()) } } }),
        ),
        (
            "3.1".to_owned(),
            json!({ "openapi": "3.1.0", "info": info, "servers": server,
            "webhooks": { "thing": {} }, "paths": { "/things": { "post": operation(content) } } }),
        ),
    ]
}

#[test]
fn every_description_gives_a_draft_that_lints_and_a_report() {
    for (name, document) in small() {
        let options = ImportOptions::default();
        let Imported { definition, report } = import(&document, &options).unwrap();
        let checked = Connector::parse(&definition, &Limits::default());
        assert_eq!(checked.errors, [], "{name}");
        let operations = &report.operations;
        assert_eq!(operations.total, operations.carried + operations.left_out, "{name}");
        assert_eq!(checked.connector.unwrap().actions.len(), operations.carried, "{name}");
        for item in &report.items {
            assert!(document.pointer(&item.pointer).is_some(), "{name}: {} points nowhere", item.pointer);
        }
    }
}
