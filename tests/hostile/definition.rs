//! Connector definitions: a sound skeleton, with parts of it made expensive, many, or wrong.

use serde_json::{Map, Value, json};

use crate::random::Random;
use crate::values;

const REQUEST_SCOPES: &[&str] = &["input", "config", "input"];

/// A definition; most are accepted.
pub(crate) fn definition(random: &mut Random) -> Value {
    let actions: Vec<Value> = {
        let count = random.rarely_many(20, 400, 4).max(1);
        (0..count).map(|at| action(random, at)).collect()
    };
    let mut made = json!({
        "schema_version": 1, "connector_id": "made-up", "display_name": "Made up", "auth_type": "bearer",
        "auth_schema": { "fields": [{ "name": "token", "label": "Token", "type": "password", "required": true }] },
        "actions": actions, "allowed_domains": ["api.example.com"],
    });
    if let Some(members) = made.as_object_mut() {
        extras(random, members);
    }
    if random.one_in(10) {
        spoil(random, &mut made);
    }
    made
}

fn extras(random: &mut Random, members: &mut Map<String, Value>) {
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    let fields: Vec<Value> = values::NAMES.iter().map(|name| config_field(random, name)).collect();
    put("config_fields", Value::Array(fields));
    if random.one_in(4) {
        let count = random.rarely_many(20, 20_000, 20);
        let pairs: Map<String, Value> =
            (0..count).map(|at| (format!("q{at}"), text_or_template(random, &["config"]))).collect();
        put("default_query", Value::Object(pairs));
    }
    if random.one_in(4) {
        let pairs: Map<String, Value> = (0..random.count(40))
            .map(|at| (format!("X-Made-{at}"), text_or_template(random, &["config"])))
            .collect();
        put("default_headers", Value::Object(pairs));
    }
    if random.one_in(4) {
        put("errors", errors(random));
    }
    if random.one_in(30) {
        put(
            "allowed_domains",
            (0..random.count(50_000)).map(|at| json!(format!("h{at}.example.com"))).collect(),
        );
    }
    if random.one_in(30) {
        let extra: Vec<Value> =
            (0..random.count(200)).map(|_| json!(format!("t{}", values::plain(random, 10)))).collect();
        put("tags", Value::Array(extra));
    }
}

fn text_or_template(random: &mut Random, scopes: &[&str]) -> Value {
    Value::String(if random.one_in(2) { values::plain(random, 10) } else { values::template(random, scopes) })
}

fn config_field(random: &mut Random, name: &str) -> Value {
    let mut field = json!({ "name": name, "label": name, "type": "text" });
    if random.one_in(2) {
        field["pattern"] = json!(values::pattern(random));
    }
    if name != "a" && random.one_in(4) {
        field["computed"] = json!({ "from": "a", "filter": format!("trim{}", values::filters(random, 8)) });
    }
    field
}

fn action(random: &mut Random, at: usize) -> Value {
    let method = random.pick(&["GET", "POST", "PUT", "DELETE"]);
    let mut made = json!({
        "action_id": format!("act-{at}"), "http_method": method, "url_template": url(random),
        "body_schema": inputs(random),
    });
    if random.one_in(3) {
        made["query"] = json!({ "q": values::template(random, REQUEST_SCOPES) });
    }
    if random.one_in(3) {
        made["headers"] = json!({ "X-Given": values::template(random, REQUEST_SCOPES) });
    }
    if random.one_in(3) && method != "GET" {
        made["body"] = body(random);
    }
    if random.one_in(3) {
        made["errors"] = errors(random);
    }
    match random.below(3) {
        0 => made["response"] = response(random),
        1 => made["pagination"] = pagination(random),
        _ => {}
    }
    if random.one_in(4) {
        made["examples"] = (0..random.rarely_many(10, 64, 2)).map(|_| example(random)).collect();
    }
    if random.one_in(6) {
        made["success"] = json!({ "status": [200], "predicate": values::predicate(random, 3) });
    }
    made
}

fn url(random: &mut Random) -> String {
    let mut out = "https://api.example.com".to_owned();
    for _ in 0..random.count(30) {
        match random.below(4) {
            0 => out.push_str("/fixed"),
            1 => out.push_str("/{{input.a}}-{{input.b}}-{{input.c}}.json"),
            2 => out.push_str("/{{+input.a}}"),
            _ => out.push_str(&format!("/{}", values::template(random, &["input", "config"]))),
        }
    }
    out
}

fn inputs(random: &mut Random) -> Value {
    let count = random.rarely_many(20, 190, 8).max(values::NAMES.len());
    (0..count)
        .map(|at| {
            let name = values::NAMES.get(at).map_or_else(|| format!("i{at}"), |name| (*name).to_owned());
            // Those that URLs use are texts.
            let kinds = ["number", "integer", "any", "object", "array", "boolean", "datetime"];
            let kind =
                if at < values::NAMES.len() || random.one_in(2) { "string" } else { random.pick(&kinds) };
            let mut input = json!({ "name": name, "label": name, "type": kind });
            if kind == "string" && random.one_in(4) {
                input["pattern"] = json!(values::pattern(random));
            }
            if kind == "string" && random.one_in(4) {
                input["transform"] = json!(format!("trim{}", values::filters(random, 8)));
            }
            if kind == "string" && random.one_in(8) {
                input["default"] = json!(values::plain(random, 10));
            }
            if kind == "string" && at > values::NAMES.len() && random.one_in(6) {
                input["in"] = json!(random.pick(&["query", "header"]));
            }
            input
        })
        .collect()
}

fn body(random: &mut Random) -> Value {
    match random.below(5) {
        0 => json!({ "type": "form", "form_style": random.pick(&["brackets", "dots", "flat"]) }),
        1 => json!({ "type": "multipart" }),
        2 => json!({ "type": "text", "template": values::template(random, REQUEST_SCOPES) }),
        3 => {
            json!({ "type": "json", "template": { "deep": [values::template(random, REQUEST_SCOPES), [[[]]]] } })
        }
        _ => json!({ "type": "graphql", "query": "query($a: ID) { x(a: $a) }",
                     "variables": { "a": values::template(random, REQUEST_SCOPES) } }),
    }
}

fn errors(random: &mut Random) -> Value {
    (0..random.count(20))
        .map(|_| {
            json!({ "when": { "status": [400 + random.below(100)], "predicate": values::predicate(random, 3) },
                    "class": random.pick(&["auth", "transient", "permanent", "rate_limit"]),
                    "action": random.pick(&["fail", "retry"]), "message_path": values::path(random) })
        })
        .collect()
}

fn response(random: &mut Random) -> Value {
    let kind = random.pick(&["auto", "json", "text", "xml", "binary"]);
    let mut made = json!({ "type": kind });
    if !matches!(kind, "auto" | "json" | "xml") {
        return made;
    }
    if random.one_in(2) {
        made["root"] = json!(values::path(random));
    }
    if random.one_in(2) {
        let map: Map<String, Value> =
            (0..random.count(2000)).map(|at| (format!("o{at}"), json!(values::path(random)))).collect();
        made["map"] = Value::Object(map);
    }
    made
}

fn pagination(random: &mut Random) -> Value {
    match random.below(5) {
        0 => json!({ "type": "next_url", "items": "/items", "cursor_path": "/next" }),
        1 => json!({ "type": "link_header", "items": "/items" }),
        2 => json!({ "type": "cursor", "items": "/items", "cursor_path": "/next", "param": "c" }),
        3 => json!({ "type": "page", "items": "", "param": "p" }),
        _ => json!({ "type": "last_id", "items": "/items", "cursor_path": "/id", "param": "after" }),
    }
}

fn example(random: &mut Random) -> Value {
    let input: Map<String, Value> =
        values::NAMES.iter().map(|name| ((*name).to_owned(), json!("x"))).collect();
    json!({ "name": "made up", "config": input, "input": input,
            "response": { "status": 200, "body": values::document(random, 200, 4) } })
}

/// Puts something else in the place of one member, however deep.
fn spoil(random: &mut Random, value: &mut Value) {
    let children = match value {
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => 0,
    };
    if children == 0 || random.one_in(4) {
        *value = match random.below(3) {
            0 => values::document(random, 3000, 4),
            1 => (0..random.count(100_000))
                .map(|at| (format!("n{at}"), json!(at)))
                .collect::<Map<_, _>>()
                .into(),
            _ => Value::Array(vec![Value::Null; random.count(100_000)]),
        };
        return;
    }
    let at = random.below(children);
    let child = match value {
        Value::Array(items) => items.get_mut(at),
        Value::Object(members) => members.values_mut().nth(at),
        _ => None,
    };
    if let Some(child) = child {
        spoil(random, child);
    }
}
