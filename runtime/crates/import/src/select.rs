//! Selects operations, and finds them in the description.

use serde_json::{Map, Value};

use crate::context::Context;
use crate::limits::PATH_BYTES_MAX;
use crate::names::shown;
use portcullis_core::violation::step;

/// Methods that OpenAPI describes; 2.0 and 3.x together.
const METHODS: &[&str] = &["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// One operation of the description.
#[derive(Debug, Clone)]
pub(crate) struct Operation<'a> {
    pub(crate) path: &'a str,
    /// Method in lower case.
    pub(crate) method: &'a str,
    pub(crate) item: &'a Map<String, Value>,
    pub(crate) object: &'a Map<String, Value>,
    /// Pointer to the operation.
    pub(crate) at: String,
    /// Pointer to the path's item.
    pub(crate) item_at: String,
}

/// The operations of a description.
#[derive(Debug, Default)]
pub(crate) struct Selection<'a> {
    /// The selected ones.
    pub(crate) operations: Vec<Operation<'a>>,
    /// All operations.
    pub(crate) total: usize,
    /// Number of those not selected.
    pub(crate) not_selected: usize,
}

/// Finds the operations that `only` names; all if it is empty.
pub(crate) fn select<'a>(context: &mut Context<'a>, only: &[String]) -> Selection<'a> {
    let mut selection = Selection::default();
    let root = context.root;
    let Some(paths) = root.get("paths").and_then(Value::as_object) else { return selection };
    for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
        let usable = path.len() <= PATH_BYTES_MAX;
        let at = if usable { format!("/paths/{}", step(path)) } else { "/paths".to_owned() };
        let Some((item, item_at)) = context.object_at(item, &at) else { continue };
        for method in METHODS {
            let Some((method, written)) = item.get_key_value(*method) else { continue };
            let Some(object) = written.as_object() else { continue };
            selection.total += 1;
            let at = format!("{item_at}/{method}");
            let part = context.part(written, &at);
            let (object, at) = part.clone().ok().flatten().unwrap_or((object, at));
            let operation = Operation { path, method, item, object, at, item_at: item_at.clone() };
            if !only.is_empty() && !only.iter().any(|pattern| operation.is_named(pattern)) {
                selection.not_selected += 1;
            } else if !usable {
                let message = format!("path {:?} is too long", shown(path));
                context.report.add_alone("/paths", "path_not_usable", message);
            } else if let Err((code, why)) = part {
                context.report.add_alone(&operation.at, code, format!("left out: {why}"));
            } else {
                selection.operations.push(operation);
            }
        }
    }
    selection
}

impl Operation<'_> {
    /// The `operationId`.
    pub(crate) fn id(&self) -> Option<&str> {
        self.object.get("operationId").and_then(Value::as_str).filter(|id| !id.is_empty())
    }

    fn is_named(&self, pattern: &str) -> bool {
        match pattern.split_once(' ') {
            Some((method, path)) => {
                (method == "*" || method.eq_ignore_ascii_case(self.method)) && matches(path.trim(), self.path)
            }
            None => self.id().is_some_and(|id| matches(pattern, id)),
        }
    }
}

/// Whether a text matches a pattern; `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_star_is_any_text() {
        for (pattern, text, expected) in [
            ("repos/get", "repos/get", true),
            ("repos/get", "repos/get-x", false),
            ("repos/*", "repos/get", true),
            ("*get*", "repos/get-x", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("ab*bc", "abc", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn operations_are_named_by_id_or_by_method_and_path() {
        let root = json!({ "openapi": "3.0.0", "paths": {
            "/a": { "get": { "operationId": "a-get" }, "post": {}, "parameters": [] },
            "/b/{c}": { "$ref": "#/items/b" },
            "x-more": { "get": {} },
        }, "items": { "b": { "get": {} } } });
        for (only, expected) in [
            (vec![], vec!["/paths/~1a/get", "/paths/~1a/post", "/items/b/get"]),
            (vec!["a-*"], vec!["/paths/~1a/get"]),
            (vec!["POST /a"], vec!["/paths/~1a/post"]),
            (vec!["* /b/*"], vec!["/items/b/get"]),
            (vec!["GET *", "nothing"], vec!["/paths/~1a/get", "/items/b/get"]),
        ] {
            let mut context = Context::new(&root).unwrap();
            let only: Vec<String> = only.into_iter().map(str::to_owned).collect();
            let found = select(&mut context, &only);
            let at: Vec<&str> = found.operations.iter().map(|o| o.at.as_str()).collect();
            assert_eq!((at, found.total), (expected, 3), "{only:?}");
        }
    }
}
