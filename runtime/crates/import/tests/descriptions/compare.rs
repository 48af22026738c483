//! Description beside draft, name by name.

use std::collections::HashSet;

use percent_encoding::percent_decode_str;
use portcullis_import::Report;
use serde_json::Value;

use crate::described::{Described, Path};

/// Headers that every request has, or that its body brings.
const SENT_ANYWAY: [&str; 7] =
    ["accept", "accept-encoding", "connection", "content-length", "content-type", "host", "user-agent"];

/// What was compared, and what was not found.
#[derive(Default)]
pub(crate) struct Comparison {
    pub(crate) names: usize,
    pub(crate) misses: Vec<String>,
}

impl Comparison {
    pub(crate) fn of(document: &Value, definition: &Value, report: &Report) -> Self {
        let described = Described::new(document);
        let items = report.items.iter();
        let left_out: HashSet<&str> =
            items.filter(|i| i.message.contains("left out: ")).map(|i| i.pointer.as_str()).collect();
        let is_cut = report.items.iter().any(|item| item.code == "actions_cut");
        let mut actions = definition["actions"].as_array().unwrap().iter().peekable();
        let mut found = Self::default();
        for path in described.paths() {
            let mut open: Vec<_> =
                path.operations.iter().filter(|(_, _, at)| !left_out.contains(at.as_str())).collect();
            while let Some(action) = actions.peek()
                && let Some(index) = open.iter().position(|(method, _, _)| is_of(action, &path, method))
            {
                let (_, operation, at) = open.remove(index);
                let reader = Pair { described: &described, definition, action, at };
                reader.compare(&path, operation, &mut found);
                actions.next();
            }
            if !is_cut {
                found.misses.extend(open.iter().map(|(_, _, at)| format!("{at}: no action")));
            }
        }
        found.misses.extend(actions.map(|action| format!("no operation of {}", action["url_template"])));
        found
    }
}

/// Whether an action has the method and the path.
fn is_of(action: &Value, path: &Path<'_>, method: &str) -> bool {
    let url = action["url_template"].as_str().unwrap();
    let own = percent_decode_str(url).decode_utf8_lossy().into_owned();
    action["http_method"].as_str().unwrap().eq_ignore_ascii_case(method)
        && holes(&own, "{{input.", "}}").ends_with(&holes(&decoded(path.path), "{", "}"))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// A text with every variable replaced by `{}`, without what a style puts before one.
fn holes(text: &str, open: &str, close: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(open) {
        let before = before.strip_suffix('.').unwrap_or(before);
        let before = match before.rsplit_once(';') {
            Some((plain, name)) if name.ends_with('=') && !name.contains('/') => plain,
            _ => before,
        };
        out.push_str(before);
        out.push_str("{}");
        rest = after.split_once(close).map_or("", |(_, rest)| rest);
    }
    out + rest
}

/// One operation and its action.
struct Pair<'p, 'd> {
    described: &'p Described<'d>,
    definition: &'p Value,
    action: &'p Value,
    at: &'p str,
}

impl<'d> Pair<'_, 'd> {
    fn compare(&self, path: &Path<'d>, operation: &'d Value, found: &mut Comparison) {
        let url = self.action["url_template"].as_str().unwrap();
        for name in url.split("{{input.").skip(1).filter_map(|rest| rest.split("}}").next()) {
            let sound = self.inputs().any(|input| input["name"] == name && input["required"] == true);
            self.note(sound, &format!("path input {name:?}"), found);
        }
        let parameters = self.described.parameters(path, operation);
        for parameter in parameters.iter().filter(|p| p["required"] == true) {
            let name = parameter["name"].as_str().unwrap_or_default();
            let sound = match parameter["in"].as_str().unwrap_or_default() {
                "query" => self.has(name, "query") || self.sends(name, "query") || self.is_in_url(name),
                "header" => {
                    SENT_ANYWAY.contains(&name.to_ascii_lowercase().as_str())
                        || self.has(name, "header")
                        || self.sends(name, "header")
                }
                "cookie" => self.sends(name, "cookie"),
                "formData" => self.has(name, "body"),
                _ => continue,
            };
            self.note(sound, &format!("{} {name:?}", parameter["in"]), found);
        }
        if let Some(body) = parameters.iter().find(|p| p["in"] == "body") {
            self.body(body["required"] == true, body.get("schema").into_iter().collect(), found);
        }
        if let Some(body) = self.described.body(operation) {
            let content = body.get("content").and_then(Value::as_object);
            let entries = content.into_iter().flatten().filter(|(name, _)| self.takes(name));
            let schemas: Vec<&Value> = entries.filter_map(|(_, entry)| entry.get("schema")).collect();
            let required = body["required"] == true && content.is_some_and(|content| !content.is_empty());
            self.body(required, schemas, found);
        }
    }

    fn note(&self, sound: bool, what: &str, found: &mut Comparison) {
        found.names += 1;
        if !sound {
            found.misses.push(format!("{}: {what} is not in {}", self.at, self.action["action_id"]));
        }
    }

    fn inputs(&self) -> impl Iterator<Item = &Value> {
        self.action["body_schema"].as_array().into_iter().flatten()
    }

    /// Whether there is a required input with that wire name.
    fn has(&self, wire: &str, place: &str) -> bool {
        let url = self.action["url_template"].as_str().unwrap();
        self.inputs().filter(|input| input["required"] == true).any(|input| {
            let name = input["name"].as_str().unwrap();
            let own = input["in"].as_str().unwrap_or_else(|| {
                if url.contains(&format!("{{{{input.{name}}}}}")) { "path" } else { "body" }
            });
            let same = input["as"].as_str().unwrap_or(name);
            own == place && (same == wire || place == "header" && same.eq_ignore_ascii_case(wire))
        })
    }

    /// Whether the URL has a pair of that name.
    fn is_in_url(&self, name: &str) -> bool {
        let url = self.action["url_template"].as_str().unwrap();
        let pairs = url.split_once('?').map_or("", |(_, query)| query);
        pairs.split('&').any(|pair| decoded(pair.split('=').next().unwrap()) == name)
    }

    /// Whether the action or the credential sends a pair of that name.
    fn sends(&self, name: &str, place: &str) -> bool {
        let auth = &self.definition["auth"];
        let fixed = if place == "query" { "query" } else { "headers" };
        let holds = |map: &Value| {
            map[fixed].as_object().is_some_and(|map| map.keys().any(|own| own.eq_ignore_ascii_case(name)))
        };
        let is_placed = |value: &Value| {
            value["in"] == place && value["name"].as_str().is_some_and(|own| own.eq_ignore_ascii_case(name))
        };
        let in_authorization = place == "header"
            && name.eq_ignore_ascii_case("authorization")
            && !matches!(self.definition["auth_type"].as_str(), None | Some("none" | "custom" | "api_key"));
        (place != "cookie" && (holds(self.action) || holds(&auth["custom"])))
            || is_placed(auth)
            || auth["places"].as_array().into_iter().flatten().any(is_placed)
            || in_authorization
    }

    fn body_type(&self) -> &str {
        let by_method = ["POST", "PUT", "PATCH"].iter().any(|m| self.action["http_method"] == *m);
        self.action["body"]["type"].as_str().unwrap_or(if by_method { "json" } else { "none" })
    }

    /// Whether the draft's body is of that media type.
    fn takes(&self, name: &str) -> bool {
        let essence = name.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_json = essence.ends_with("json") || essence == "*/*" || essence == "application/*";
        match self.body_type() {
            "json" => match self.action["body"]["content_type"].as_str() {
                Some(chosen) => chosen.split(';').next() == Some(essence.as_str()),
                None => is_json,
            },
            "form" => essence == "application/x-www-form-urlencoded",
            "multipart" => essence == "multipart/form-data",
            "text" => essence.starts_with("text/"),
            "raw" => true,
            _ => false,
        }
    }

    /// One of the schemas must be carried whole.
    fn body(&self, required: bool, schemas: Vec<&'d Value>, found: &mut Comparison) {
        if self.body_type() == "none" {
            if required {
                self.note(false, "the body", found);
            }
            return;
        }
        if let Some(root) = self.action["body"]["root"].as_str() {
            let sound = |input: &Value| input["name"] == root && (!required || input["required"] == true);
            self.note(self.inputs().any(sound), "the body", found);
            return;
        }
        let lost = schemas.iter().map(|schema| {
            let names = self.described.required(schema);
            let lost: Vec<&str> = names.iter().copied().filter(|name| !self.has(name, "body")).collect();
            (names.len(), lost)
        });
        if let Some((names, lost)) = lost.min_by_key(|(_, lost)| lost.len()) {
            found.names += names;
            found.misses.extend(lost.iter().map(|name| {
                format!("{}: body member {name:?} is not in {}", self.at, self.action["action_id"])
            }));
        }
    }
}
