//! The OpenAPI 3.1 document, made from the table of routes and the definition's own schema.

#![allow(clippy::indexing_slicing, reason = "indexing a JSON object by name inserts; it never panics")]

use portcullis_core::fault::Code;
use serde_json::{Map, Value, json};

use super::routes::{ROUTES, Route};
use crate::token;

/// The whole document.
#[must_use]
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let entry = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(map) = entry.as_object_mut() {
            map.insert(route.method.to_lowercase(), operation(route));
        }
    }
    let codes: Vec<&str> = Code::ALL.iter().map(|c| c.as_str()).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Connectors are JSON, run in a sandbox, and leave through one guarded gate.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": "pc_<role>_…" } },
            "schemas": {
                "Definition": definition_schema(),
                "Problem": {
                    "type": "object",
                    "description": "RFC 9457",
                    "required": ["type", "title", "status", "detail", "code", "request_id"],
                    "properties": {
                        "type": { "type": "string" },
                        "title": { "type": "string" },
                        "status": { "type": "integer" },
                        "detail": { "type": "string" },
                        "code": { "enum": codes },
                        "request_id": { "type": "string" },
                        "pointer": { "type": "string", "description": "RFC 6901" },
                        "errors": { "type": "array", "items": {
                            "type": "object",
                            "required": ["pointer", "code", "message"],
                            "properties": {
                                "pointer": { "type": "string" },
                                "code": { "type": "string" },
                                "message": { "type": "string" },
                            },
                        } },
                        "run": { "type": "object" },
                    },
                },
            },
        },
    })
}

/// The definition's schema with its local definitions where OpenAPI finds them.
fn definition_schema() -> Value {
    let text = portcullis_core::definition::schema().to_string();
    let moved = text.replace("\"#/$defs/", "\"#/components/schemas/Definition/$defs/");
    serde_json::from_str(&moved).unwrap_or(Value::Bool(true))
}

fn operation(route: &Route) -> Value {
    let (status, answer) = route.answer;
    let mut ok = json!({ "description": route.summary });
    let schema = answer();
    if !schema.is_null() {
        ok["content"] = json!({ "application/json": { "schema": schema } });
    }
    let problem = json!({
        "description": "A problem",
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "parameters": parameters(route),
        "responses": { status.to_string(): ok, "default": problem },
    });
    if let Some(body) = route.body {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": body() } },
        });
    }
    if route.roles.is_empty() {
        operation["security"] = json!([]);
    } else {
        let roles: Vec<&str> = route.roles.iter().map(|r| token::role_word(*r)).collect();
        operation["security"] = json!([{ "token": [] }]);
        operation["x-roles"] = json!(roles);
    }
    operation
}

fn operation_id(route: &Route) -> String {
    let path = route.path.trim_matches('/').replace(['/', '{', '}', '.'], "_");
    let path: Vec<&str> = path.split('_').filter(|p| !p.is_empty()).collect();
    format!("{}_{}", route.method.to_lowercase(), path.join("_"))
}

fn parameters(route: &Route) -> Vec<Value> {
    let names = route.path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = names
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    let answer = (route.answer.1)();
    if answer == shapes::list() {
        let query = |name: &str, schema: Value| json!({ "name": name, "in": "query", "schema": schema });
        parameters
            .push(query("limit", json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 50 })));
        parameters.push(query("starting_after", json!({ "type": "string" })));
    }
    let text = |name: &str| json!({ "name": name, "in": "query", "schema": { "type": "string" } });
    match (route.method, route.path) {
        ("DELETE", "/admin/connector/{id}") => {
            parameters.push(json!({ "name": "force", "in": "query", "schema": { "type": "boolean" } }));
        }
        ("GET", "/org/{org}/outbound") => {
            const FILTERS: [&str; 9] = [
                "workspace",
                "connector_id",
                "action_id",
                "run_id",
                "host",
                "verdict",
                "code",
                "since",
                "until",
            ];
            parameters.extend(FILTERS.into_iter().map(text));
        }
        _ => {}
    }
    parameters
}

/// Shapes of bodies.
pub(super) mod shapes {
    use serde_json::{Value, json};

    /// Any JSON object.
    pub(in crate::api) fn any() -> Value {
        json!({ "type": "object" })
    }

    /// No body.
    pub(in crate::api) fn nothing() -> Value {
        Value::Null
    }

    /// A page.
    pub(in crate::api) fn list() -> Value {
        json!({
            "type": "object",
            "required": ["data", "has_more"],
            "properties": { "data": { "type": "array", "items": { "type": "object" } }, "has_more": { "type": "boolean" } },
        })
    }

    /// A connector definition.
    pub(in crate::api) fn definition() -> Value {
        json!({ "$ref": "#/components/schemas/Definition" })
    }

    /// A stored connector.
    pub(in crate::api) fn connector() -> Value {
        json!({
            "type": "object",
            "required": ["connector_id", "revision", "enabled", "definition"],
            "properties": {
                "connector_id": { "type": "string" },
                "revision": { "type": "integer" },
                "enabled": { "type": "boolean" },
                "definition": { "type": "object" },
                "created_at": { "type": "string", "format": "date-time" },
                "updated_at": { "type": "string", "format": "date-time" },
                "warnings": { "type": "array", "items": { "type": "object" } },
                "impact": { "type": "array", "items": { "type": "object" } },
            },
        })
    }

    /// What validation found.
    pub(in crate::api) fn report() -> Value {
        json!({
            "type": "object",
            "required": ["valid", "errors", "warnings"],
            "properties": {
                "valid": { "type": "boolean" },
                "errors": { "type": "array", "items": { "type": "object" } },
                "warnings": { "type": "array", "items": { "type": "object" } },
            },
        })
    }

    fn id() -> Value {
        json!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$" })
    }

    /// An org.
    pub(in crate::api) fn org() -> Value {
        json!({ "type": "object", "required": ["org"], "properties": { "org": id(), "display_name": { "type": "string", "maxLength": 120 } } })
    }

    /// A workspace.
    pub(in crate::api) fn workspace() -> Value {
        json!({ "type": "object", "required": ["workspace"], "properties": { "workspace": id(), "display_name": { "type": "string", "maxLength": 120 } } })
    }

    /// A token.
    pub(in crate::api) fn token() -> Value {
        json!({
            "type": "object",
            "required": ["role"],
            "properties": {
                "role": { "enum": ["platform", "org", "workspace", "run"] },
                "org": id(),
                "workspace": id(),
                "label": { "type": "string", "maxLength": 120 },
                "expires_at": { "type": "string", "format": "date-time" },
            },
        })
    }

    /// A token as it is shown once.
    pub(in crate::api) fn token_answer() -> Value {
        let mut shape = token();
        shape["required"] = json!(["token_id", "role", "token"]);
        shape["properties"]["token_id"] = json!({ "type": "string" });
        shape["properties"]["token"] = json!({ "type": "string", "description": "shown once" });
        shape["properties"]["created_at"] = json!({ "type": "string", "format": "date-time" });
        shape
    }

    /// An org's allowlist.
    pub(in crate::api) fn integrations() -> Value {
        json!({
            "type": "object",
            "required": ["domain_allowlist"],
            "properties": {
                "domain_allowlist": { "type": ["array", "null"], "items": { "type": "string" } },
                "mode": { "enum": ["report", "enforce"] },
            },
        })
    }

    /// An automation.
    pub(in crate::api) fn automation() -> Value {
        json!({
            "type": "object",
            "required": ["entity_name", "event_name", "destination_config"],
            "properties": {
                "entity_name": { "type": "string" },
                "event_name": { "type": "string" },
                "event_type": { "const": "external.connector" },
                "event_stage": { "const": "after" },
                "event_optype": { "enum": ["create", "update", "delete"] },
                "enabled": { "type": "boolean" },
                "entry_conditions": { "description": "{path, eq}, {path, in}, {path, exists}, {all}, {any}, {not}, or a list" },
                "destination_config": {
                    "type": "object",
                    "required": ["connector_id", "action_id", "field_mapping"],
                    "properties": {
                        "connector_id": { "type": "string" },
                        "action_id": { "type": "string" },
                        "field_mapping": { "type": "object" },
                    },
                },
            },
        })
    }

    /// Saving credentials.
    pub(in crate::api) fn setting_write() -> Value {
        json!({
            "type": "object",
            "properties": { "enabled": { "type": "boolean", "default": true }, "config": { "type": "object" },
                "auth_method": { "type": "string", "description": "one of the connector's auth_methods; its default when left out" } },
        })
    }

    /// A workspace's connection, without values.
    pub(in crate::api) fn setting() -> Value {
        json!({
            "type": "object",
            "required": ["group", "name", "value", "state", "fields"],
            "properties": {
                "group": { "const": "connector" },
                "name": { "type": "string" },
                "value": { "type": "object", "properties": { "enabled": { "type": "boolean" } } },
                "state": { "enum": ["connected", "opted_out", "unconfigured", "needs_attention"] },
                "fields": { "type": "object", "additionalProperties": {
                    "type": "object",
                    "properties": { "set": { "type": "boolean" }, "updated_at": { "type": "string" } },
                } },
            },
        })
    }

    /// Input of a call.
    pub(in crate::api) fn run_input() -> Value {
        json!({ "type": "object", "properties": { "input": { "type": "object" } } })
    }

    /// An API description to import.
    pub(in crate::api) fn import() -> Value {
        json!({
            "type": "object",
            "required": ["document"],
            "properties": {
                "document": { "type": "object", "description": "OpenAPI 2.0, 3.0 or 3.1" },
                "connector_id": id(),
                "base_url": { "type": "string", "description": "where the API is, when the description does not say" },
                "only": { "type": "array", "items": { "type": "string" }, "description": "operationIds or `METHOD /path`; `*` stands for any text" },
            },
        })
    }

    /// Source of an automation.
    pub(in crate::api) fn run_source() -> Value {
        json!({ "type": "object", "required": ["source"], "properties": { "source": { "type": "object" } } })
    }

    /// A run.
    pub(in crate::api) fn run() -> Value {
        json!({
            "type": "object",
            "required": ["run_id", "status", "connector_id", "action_id", "revision", "decisions", "usage"],
            "properties": {
                "run_id": { "type": "string" },
                "status": { "enum": ["succeeded", "skipped", "refused", "failed"] },
                "connector_id": { "type": "string" },
                "action_id": { "type": "string" },
                "automation_id": { "type": "string" },
                "revision": { "type": "integer" },
                "reason": { "enum": ["connector_disabled", "opted_out", "unconfigured", "condition_false"] },
                "output": {},
                "upstream": { "type": "object" },
                "code": { "type": "string" },
                "message": { "type": "string" },
                "class": { "type": "string" },
                "retryable": { "type": "boolean" },
                "decisions": { "type": "array", "items": { "type": "object" } },
                "usage": { "type": "object" },
            },
        })
    }
}
