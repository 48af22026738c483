//! A vendor's OpenAPI 3 description, used for one question: which names in a request does it not declare?
//!
//! It looks at names only, of query pairs and of JSON and form bodies; the mock server decides whether
//! values fit. No I/O. Used by the judge and by a separate test.

use std::collections::BTreeSet;

use serde_json::Value;
use url::form_urlencoded;

/// References followed for one value. A longer chain is a cycle.
const REFERENCES_MAX: usize = 32;

/// The names of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Method, in capitals.
    pub(crate) method: &'a str,
    /// Path without query, as sent.
    pub(crate) path: &'a str,
    /// Query, as sent.
    pub(crate) query: &'a str,
    /// Content type, as sent; empty if there is none.
    pub(crate) content_type: &'a str,
    /// Body.
    pub(crate) body: &'a [u8],
}

/// The parsed document.
pub(crate) struct Description {
    document: Value,
}

/// One operation with its path item.
#[derive(Clone, Copy)]
struct Operation<'d> {
    item: &'d Value,
    own: &'d Value,
}

/// One step from the top of a body or of a query pair.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Entry,
}

impl Description {
    /// Reads a description.
    ///
    /// # Errors
    /// Why it is not one.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let document: Value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
        match document.get("openapi").and_then(Value::as_str) {
            Some(version) if version.starts_with("3.") => Ok(Self { document }),
            _ => Err("not an OpenAPI 3 description".to_owned()),
        }
    }

    /// The path as the description's own paths are written: without the path of a server.
    pub(crate) fn below_server<'p>(&self, path: &'p str) -> &'p str {
        let servers = self.document.get("servers").and_then(Value::as_array).into_iter().flatten();
        let bases = servers.filter_map(|server| {
            let url = server.get("url")?.as_str()?;
            let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
            rest.find('/').and_then(|at| rest.get(at..)).map(|base| base.trim_end_matches('/'))
        });
        let below = |base: &str| path.strip_prefix(base).filter(|rest| rest.starts_with('/'));
        bases.filter(|base| !base.is_empty()).find_map(below).unwrap_or(path)
    }

    /// Every undeclared name in the request, each once; `None` if there is no such operation.
    pub(crate) fn undeclared(&self, asked: Asked<'_>) -> Option<Vec<String>> {
        let operation = self.operation(asked.method, asked.path)?;
        let mut found = self.undeclared_query(operation, asked.query);
        if !asked.body.is_empty() {
            found.extend(self.undeclared_body(operation, asked));
        }
        let mut seen = BTreeSet::new();
        found.retain(|name| seen.insert(name.clone()));
        Some(found)
    }

    fn operation(&self, method: &str, path: &str) -> Option<Operation<'_>> {
        let path = self.below_server(path);
        let paths = self.document.get("paths")?.as_object()?;
        let method = method.to_ascii_lowercase();
        let fitting = paths.iter().filter_map(|(template, item)| {
            let item = self.resolve(item);
            let own = item.get(&method).filter(|_| fits(template, path))?;
            Some((template.matches('{').count(), Operation { item, own }))
        });
        // Why the fewest: /contacts/search is not the contact with the id "search".
        fitting.min_by_key(|(variables, _)| *variables).map(|(_, operation)| operation)
    }

    fn undeclared_query(&self, operation: Operation<'_>, query: &str) -> Vec<String> {
        let lists = [operation.item.get("parameters"), operation.own.get("parameters")];
        let parameters: Vec<&Value> = lists
            .into_iter()
            .flatten()
            .filter_map(Value::as_array)
            .flatten()
            .map(|parameter| self.resolve(parameter))
            .filter(|parameter| parameter.get("in").is_some_and(|place| place == "query"))
            .collect();
        let named = |name: &str| parameters.iter().find(|p| p.get("name").is_some_and(|n| n == name));
        let declared = |key: &str| {
            if named(key).is_some() || self.is_credential(key) {
                return true;
            }
            let (steps, base) = (bracketed(key), key.split('[').next().unwrap_or_default());
            match (named(base), steps.get(1..)) {
                (Some(parameter), Some(rest)) => {
                    let schemas: Vec<&Value> = parameter.get("schema").into_iter().collect();
                    self.first_undeclared(&schemas, rest).is_none()
                }
                _ => false,
            }
        };
        let keys = form_urlencoded::parse(query.as_bytes()).map(|(key, _)| key);
        keys.filter(|key| !declared(key)).map(|key| format!("query {key}")).collect()
    }

    /// Whether a query pair carries a key.
    fn is_credential(&self, name: &str) -> bool {
        let schemes = self.document.pointer("/components/securitySchemes").and_then(Value::as_object);
        schemes.into_iter().flatten().map(|(_, scheme)| self.resolve(scheme)).any(|scheme| {
            scheme.get("in").is_some_and(|place| place == "query")
                && scheme.get("name").is_some_and(|n| n == name)
        })
    }

    fn undeclared_body(&self, operation: Operation<'_>, asked: Asked<'_>) -> Vec<String> {
        let sent = essence(asked.content_type);
        let Some(body) = operation.own.get("requestBody") else {
            return vec!["a body".to_owned()];
        };
        let content = self.resolve(body).get("content").and_then(Value::as_object);
        let mut media = content.into_iter().flatten();
        let Some((_, media)) = media.find(|(declared, _)| covers(&essence(declared), &sent)) else {
            return vec![format!("content type {sent}")];
        };
        let schemas: Vec<&Value> = media.get("schema").into_iter().collect();
        let (word, paths) = match sent.as_str() {
            "application/x-www-form-urlencoded" => {
                ("form", form_urlencoded::parse(asked.body).map(|(key, _)| bracketed(&key)).collect())
            }
            json if json.ends_with("json") => match serde_json::from_slice(asked.body) {
                Ok(value) => ("body", leaves(&value)),
                Err(e) => return vec![format!("a body that is not JSON: {e}")],
            },
            // Text, files and parts have no names that could be looked up.
            _ => return Vec::new(),
        };
        let undeclared = |steps: &Vec<Step>| {
            let at = self.first_undeclared(&schemas, steps)?;
            Some(format!("{word} {}", written(steps.get(..=at)?)))
        };
        paths.iter().filter_map(undeclared).collect()
    }

    /// The first step of a path that these schemas do not declare. Where a schema is open, every name is declared.
    fn first_undeclared(&self, schemas: &[&Value], steps: &[Step]) -> Option<usize> {
        let mut level: Vec<&Value> = schemas.to_vec();
        for (at, step) in steps.iter().enumerate() {
            let mut views = Vec::new();
            level.iter().for_each(|schema| self.views(schema, &mut views));
            let items: Vec<&Value> = views.iter().filter_map(|view| view.get("items")).collect();
            let name = match step {
                Step::Name(name) if items.is_empty() || !is_index(name) => name,
                _ if items.is_empty() && excludes(&views, "array") => return Some(at),
                _ => {
                    level = items;
                    continue;
                }
            };
            let members = views.iter().filter_map(|view| view.get("properties"));
            let hits: Vec<&Value> = members.filter_map(|members| members.get(name)).collect();
            let open: Vec<&Value> = views.iter().filter_map(|view| open_members(view)).collect();
            let says_nothing = views.iter().all(|view| view.get("properties").is_none());
            level = match (hits.is_empty(), open.is_empty()) {
                (false, _) => hits,
                (true, false) => open,
                (true, true) if says_nothing && !excludes(&views, "object") => return None,
                (true, true) => return Some(at),
            };
        }
        None
    }

    /// The schema and each of its branches, once.
    fn views<'d>(&'d self, schema: &'d Value, found: &mut Vec<&'d Value>) {
        let schema = self.resolve(schema);
        if found.iter().any(|other| std::ptr::eq(*other, schema)) {
            return;
        }
        found.push(schema);
        for branches in ["allOf", "anyOf", "oneOf"].map(|word| schema.get(word)).into_iter().flatten() {
            branches.as_array().into_iter().flatten().for_each(|branch| self.views(branch, found));
        }
    }

    /// The target of a reference; any other value is itself.
    fn resolve<'d>(&'d self, value: &'d Value) -> &'d Value {
        let mut current = value;
        for _ in 0..REFERENCES_MAX {
            let Some(pointer) = current.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'))
            else {
                return current;
            };
            match self.document.pointer(pointer) {
                Some(next) => current = next,
                None => return &Value::Null,
            }
        }
        &Value::Null
    }
}

/// Whether a path matches a template.
fn fits(template: &str, path: &str) -> bool {
    let (wanted, given): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    wanted.len() == given.len()
        && wanted.iter().zip(&given).all(|(wanted, given)| match (wanted.find('{'), wanted.rfind('}')) {
            (Some(open), Some(close)) if open < close => {
                let (before, after) = (&wanted.get(..open), &wanted.get(close + 1..));
                let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
                given.strip_prefix(before).and_then(|g| g.strip_suffix(after)).is_some_and(|g| !g.is_empty())
            }
            _ => wanted == given,
        })
}

/// A content type without its parameters.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a declared content type, perhaps a range, covers this one.
fn covers(declared: &str, sent: &str) -> bool {
    match declared.strip_suffix('*') {
        Some("*/") => true,
        Some(before) => sent.starts_with(before),
        None => declared == sent,
    }
}

/// `a[b][]` as steps: `a`, `b`, and the empty name.
fn bracketed(key: &str) -> Vec<Step> {
    let parts = key.split('[').map(|part| part.strip_suffix(']').unwrap_or(part));
    parts.map(|part| Step::Name(part.to_owned())).collect()
}

/// Whether a name in brackets stands for an entry of a list.
fn is_index(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_digit())
}

/// Whether schemas that name types name only others.
fn excludes(views: &[&Value], kind: &str) -> bool {
    let types: Vec<&Value> = views.iter().filter_map(|view| view.get("type")).collect();
    let is =
        |t: &&Value| t.as_str() == Some(kind) || t.as_array().is_some_and(|a| a.iter().any(|t| t == kind));
    !types.is_empty() && !types.iter().any(is)
}

/// What a schema says about members that it does not list, if it allows them.
fn open_members(view: &Value) -> Option<&Value> {
    match view.get("additionalProperties") {
        None | Some(Value::Bool(false)) => {
            view.get("patternProperties").and_then(Value::as_object)?.values().next()
        }
        open => open,
    }
}

/// Paths of all values in a document that contain no others.
fn leaves(value: &Value) -> Vec<Vec<Step>> {
    let below = |step: Step, value: &Value| {
        let paths = leaves(value).into_iter();
        paths.map(|rest| std::iter::once(step.clone()).chain(rest).collect()).collect::<Vec<Vec<Step>>>()
    };
    match value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().flat_map(|(name, value)| below(Step::Name(name.clone()), value)).collect()
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().flat_map(|value| below(Step::Entry, value)).collect()
        }
        _ => vec![Vec::new()],
    }
}

fn written(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Entry => text.push_str("[]"),
            Step::Name(name) if text.is_empty() => text.push_str(name),
            Step::Name(name) => text.push_str(&format!(".{name}")),
        }
    }
    text
}
