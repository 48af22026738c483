//! A description as the comparison reads it: references, parameters, required members.

use std::collections::BTreeSet;

use serde_json::Value;

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// The operations of one path.
pub(crate) struct Path<'d> {
    pub(crate) path: &'d str,
    /// Method in lower case, the operation, its pointer.
    pub(crate) operations: Vec<(&'static str, &'d Value, String)>,
    item: &'d Value,
}

/// A description.
pub(crate) struct Described<'d> {
    root: &'d Value,
}

impl<'d> Described<'d> {
    pub(crate) fn new(root: &'d Value) -> Self {
        Self { root }
    }

    /// The target of a reference with its pointer; `None` if it is not in the document.
    fn follow(&self, value: &'d Value, at: String) -> Option<(&'d Value, String)> {
        let (mut value, mut at) = (value, at);
        for _ in 0..20 {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return Some((value, at)) };
            let fragment = reference.strip_prefix('#')?;
            at = percent_encoding::percent_decode_str(fragment).decode_utf8().ok()?.into_owned();
            value = self.root.pointer(&at)?;
        }
        None
    }

    fn target(&self, value: &'d Value) -> Option<&'d Value> {
        self.follow(value, String::new()).map(|(value, _)| value)
    }

    pub(crate) fn paths(&self) -> Vec<Path<'d>> {
        let mut paths = Vec::new();
        for (path, item) in self.root.get("paths").and_then(Value::as_object).into_iter().flatten() {
            let at = format!("/paths/{}", path.replace('~', "~0").replace('/', "~1"));
            let Some((item, at)) = self.follow(item, at).filter(|_| !path.starts_with("x-")) else {
                continue;
            };
            let operations = METHODS.iter().filter_map(|method| {
                let object = item.get(*method).filter(|o| o.is_object())?;
                let (object, at) = self.follow(object, format!("{at}/{method}"))?;
                Some((*method, object, at))
            });
            paths.push(Path { path, operations: operations.collect(), item });
        }
        paths
    }

    /// Parameters of an operation and of its path; the operation's win.
    pub(crate) fn parameters(&self, path: &Path<'d>, operation: &'d Value) -> Vec<&'d Value> {
        let mut list: Vec<&Value> = Vec::new();
        for holder in [operation, path.item] {
            for parameter in holder.get("parameters").and_then(Value::as_array).into_iter().flatten() {
                let Some(parameter) = self.target(parameter) else { continue };
                let key = |p: &Value| (p["in"].clone(), p["name"].clone());
                // Why: inside one list the last one counts, and a path's never replaces an operation's.
                let own = std::ptr::eq(holder, operation);
                match list.iter_mut().find(|known| key(known) == key(parameter)) {
                    Some(known) if own => *known = parameter,
                    Some(_) => {}
                    None => list.push(parameter),
                }
            }
        }
        list
    }

    /// The request body of 3.x.
    pub(crate) fn body(&self, operation: &'d Value) -> Option<&'d Value> {
        self.target(operation.get("requestBody")?).filter(|body| body.is_object())
    }

    /// Names that an object requires in a request, `allOf` included.
    pub(crate) fn required(&self, schema: &'d Value) -> BTreeSet<&'d str> {
        let (mut names, mut read_only) = (BTreeSet::new(), BTreeSet::new());
        self.collect(schema, &mut Vec::new(), &mut names, &mut read_only);
        names.retain(|name| !name.is_empty() && !read_only.contains(name));
        names
    }

    fn collect(
        &self,
        schema: &'d Value,
        open: &mut Vec<*const Value>,
        names: &mut BTreeSet<&'d str>,
        read_only: &mut BTreeSet<&'d str>,
    ) {
        let Some(schema) = self.target(schema) else { return };
        if open.len() > 30 || open.contains(&std::ptr::from_ref(schema)) {
            return;
        }
        open.push(schema);
        let list = schema.get("required").and_then(Value::as_array);
        names.extend(list.into_iter().flatten().filter_map(Value::as_str));
        for (name, member) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let says = |schema: &Value| schema.get("readOnly") == Some(&Value::Bool(true));
            if says(member) || self.is_read_only(member) {
                read_only.insert(name);
            }
        }
        for member in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.collect(member, open, names, read_only);
        }
        open.pop();
    }

    fn is_read_only(&self, schema: &'d Value) -> bool {
        let Some(schema) = self.target(schema) else { return false };
        let all = schema.get("allOf").and_then(Value::as_array);
        let says = |schema: &Value| schema.get("readOnly") == Some(&Value::Bool(true));
        says(schema) || all.into_iter().flatten().filter_map(|member| self.target(member)).any(says)
    }
}
