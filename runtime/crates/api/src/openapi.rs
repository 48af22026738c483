//! The OpenAPI 3.1 document, made from the table of routes and the types of its handlers.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use portcullis_core::definition;
use portcullis_core::fault::Code;
use portcullis_core::id::{
    ActionId, AutomationId, ConnectionName, ConnectorId, OrgId, RunId, TokenId, WorkspaceId,
};
use portcullis_core::structure::{Unknown, close, flatten_constants, flatten_optional};
use schemars::generate::{Contract, SchemaSettings};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::problem::{self, Problem};
use crate::request::{Parameter, Place};
use crate::route::Route;
use crate::routes::{ROUTES, TAGS};

mod examples;
mod portable;

/// Where the document keeps its schemas.
const SCHEMAS: &str = "/components/schemas/";

/// The whole document.
#[must_use]
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(make);
    &DOCUMENT
}

/// Generates schemas, and collects the components that they refer to.
struct Components {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

fn generator(contract: Contract) -> SchemaGenerator {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = SCHEMAS.into();
    settings.meta_schema = None;
    settings.contract = contract;
    settings.into_generator()
}

fn make() -> Value {
    let mut components =
        Components { requests: generator(Contract::Deserialize), answers: generator(Contract::Serialize) };
    components.answers.subschema_for::<Problem<'static>>();
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let operation = operation(route, &mut components);
        let entry = paths.entry(route.path).or_insert_with(|| Value::Object(Map::new()));
        if let Some(methods) = entry.as_object_mut() {
            methods.insert(route.method.to_lowercase(), operation);
        }
    }
    let tags: Vec<Value> =
        TAGS.iter().map(|(name, description)| json!({ "name": name, "description": description })).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Connectors are JSON, run in a sandbox, and leave through one guarded gate.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": tags,
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "An API token, pc_<role>_…" },
            },
            "schemas": components.finish(),
        },
    })
}

impl Components {
    /// Every component by name.
    fn finish(mut self) -> Map<String, Value> {
        let mut schemas: BTreeMap<String, Value> = BTreeMap::new();
        let mut requests = Value::Object(self.requests.take_definitions(true));
        close(&mut requests, Unknown::Refused);
        let answers = Value::Object(self.answers.take_definitions(true));
        for all in [requests, answers] {
            if let Value::Object(all) = all {
                schemas.extend(all);
            }
        }
        schemas.extend(definition_components());
        let schemas = schemas.into_iter().map(|(name, mut schema)| {
            flatten_constants(&mut schema);
            portable::component(&mut schema);
            (name, schema)
        });
        schemas.collect()
    }
}

/// The definition's schema and its parts, each as a separate component.
fn definition_components() -> impl Iterator<Item = (String, Value)> {
    let moved = definition::schema().to_string().replace("\"#/$defs/", "\"#/components/schemas/");
    let mut schema: Map<String, Value> = serde_json::from_str(&moved).unwrap_or_default();
    schema.shift_remove("$schema");
    let parts = match schema.shift_remove("$defs") {
        Some(Value::Object(parts)) => parts,
        _ => Map::new(),
    };
    std::iter::once(("Definition".to_owned(), Value::Object(schema))).chain(parts)
}

fn operation(route: &Route, components: &mut Components) -> Value {
    let mut operation = json!({
        "operationId": route.operation,
        "tags": [route.tag],
        "summary": route.summary,
    });
    let Some(members) = operation.as_object_mut() else { return operation };
    let parameters = parameters(route);
    if !parameters.is_empty() {
        members.insert("parameters".to_owned(), Value::Array(parameters));
    }
    if let Some(schema) = (route.types.body)(&mut components.requests) {
        let mut media = json!({ "schema": inline(schema) });
        if let (Some(example), Some(media)) = (examples::of(route.operation), media.as_object_mut()) {
            media.insert("example".to_owned(), example);
        }
        let body = json!({ "required": true, "content": { (route.types.body_media): media } });
        members.insert("requestBody".to_owned(), body);
    }
    members.insert("responses".to_owned(), Value::Object(responses(route, components)));
    if route.roles.is_empty() {
        members.insert("security".to_owned(), json!([]));
    } else {
        let roles: Vec<&str> = route.roles.iter().map(|role| role.as_str()).collect();
        members.insert("x-roles".to_owned(), json!(roles));
    }
    operation
}

/// A schema inside an operation, not among the components.
fn inline(schema: Schema) -> Value {
    let mut value = schema.to_value();
    flatten_constants(&mut value);
    portable::component(&mut value);
    value
}

/// The schema of a parameter of a path.
fn path_schema(route: &Route, name: &str) -> Value {
    let pattern = match name {
        "org" => OrgId::PATTERN,
        "ws" => WorkspaceId::PATTERN,
        "action" => ActionId::PATTERN,
        "run_id" => RunId::PATTERN,
        // Why not of exactly the length: whatever else comes is answered as a link that does not work any more.
        "secret" | "ticket" => "^[A-Za-z0-9_-]+$",
        "name" => ConnectionName::PATTERN,
        "n" => return json!({ "type": "integer", "minimum": 1 }),
        _ if route.path.contains("/automation/") => AutomationId::PATTERN,
        _ if route.path.contains("/token/") => TokenId::PATTERN,
        _ => ConnectorId::PATTERN,
    };
    json!({ "type": "string", "pattern": pattern })
}

fn parameters(route: &Route) -> Vec<Value> {
    let path = route.path_parameters().map(
        |name| json!({ "name": name, "in": "path", "required": true, "schema": path_schema(route, name) }),
    );
    path.chain((route.types.parameters)().into_iter().map(parameter)).collect()
}

fn parameter(parameter: Parameter) -> Value {
    let Parameter { name, place, required, mut schema } = parameter;
    let description = schema.shift_remove("description");
    let mut schema = Value::Object(schema);
    flatten_optional(&mut schema);
    portable::parameter(&mut schema);
    let place = match place {
        Place::Query => "query",
        Place::Header => "header",
    };
    let mut shown = json!({ "name": name, "in": place, "required": required, "schema": schema });
    if let (Some(description), Some(members)) = (description, shown.as_object_mut()) {
        members.insert("description".to_owned(), description);
    }
    shown
}

fn responses(route: &Route, components: &mut Components) -> Map<String, Value> {
    let mut responses = Map::new();
    let mut content = Map::new();
    for (media, schema) in (route.types.answer)(&mut components.answers) {
        let schema = schema.map_or_else(|| json!({ "description": "A stream of text" }), inline);
        content.insert(media.to_owned(), json!({ "schema": schema }));
    }
    let headers: Map<String, Value> = route
        .types
        .answer_headers
        .iter()
        .map(|header| {
            let shown = json!({ "description": header.description, "schema": { "type": "string" } });
            (header.name.to_owned(), shown)
        })
        .collect();
    let mut done = Map::new();
    done.insert("description".to_owned(), json!(route.summary));
    if !headers.is_empty() {
        done.insert("headers".to_owned(), Value::Object(headers));
    }
    if !content.is_empty() {
        done.insert("content".to_owned(), Value::Object(content.clone()));
    }
    responses.insert(route.types.status.as_str().to_owned(), Value::Object(done));
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in route.codes() {
        by_status.entry(code.status()).or_default().push(code);
    }
    for (status, codes) in by_status {
        responses.insert(status.to_string(), problem_response(&codes));
    }
    for status in route.types.other_statuses {
        let response = responses
            .entry(status.as_str())
            .or_insert_with(|| json!({ "description": route.summary, "content": {} }));
        if let Some(Value::Object(media)) = response.get_mut("content") {
            media.extend(content.clone());
        }
    }
    responses
}

/// A problem with one of these codes.
fn problem_response(codes: &[Code]) -> Value {
    let words: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    let titles: Vec<String> =
        codes.iter().map(|code| format!("- `{}`: {}", code.as_str(), code.title())).collect();
    json!({
        "description": titles.join("\n"),
        "content": { (problem::MEDIA): { "schema": {
            "$ref": "#/components/schemas/Problem",
            "properties": { "code": { "enum": words } },
        } } },
    })
}
