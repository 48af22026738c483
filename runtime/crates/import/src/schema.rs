//! Schemas, flattened: references followed, `allOf` merged, alternatives united, one level deep.
//!
//! The format has a type for an input and none for what is inside objects and arrays, so nothing below
//! the first level of a body is read.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::context::Context;
use crate::limits::SCHEMA_DEPTH_MAX;
use crate::names::shown;
use crate::refs;

/// What a schema accepts, as far as an input can express it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Kind {
    /// Not specified.
    #[default]
    Unknown,
    String,
    Number,
    Integer,
    Boolean,
    Object,
    Array,
    /// Swagger's `type: file`.
    File,
    /// Several types.
    Mixed,
}

impl Kind {
    fn parse(name: &str) -> Self {
        match name {
            "string" => Self::String,
            "number" => Self::Number,
            "integer" => Self::Integer,
            "boolean" => Self::Boolean,
            "object" => Self::Object,
            "array" => Self::Array,
            "file" => Self::File,
            _ => Self::Unknown,
        }
    }

    /// The kind that accepts what either accepts.
    fn either(self, other: Self) -> Self {
        match (self, other) {
            _ if self == other => self,
            (Self::Number, Self::Integer) | (Self::Integer, Self::Number) => Self::Number,
            _ => Self::Mixed,
        }
    }
}

/// Keywords that are read besides type and members; the first one found counts.
const FACETS: &[&str] = &[
    "contentEncoding",
    "contentMediaType",
    "default",
    "description",
    "example",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "multipleOf",
    "pattern",
    "readOnly",
    "title",
    "uniqueItems",
    "x-example",
];

/// A flattened schema.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flat<'a> {
    pub(crate) kind: Kind,
    /// Members in order.
    pub(crate) properties: Vec<(&'a str, &'a Value)>,
    pub(crate) required: HashSet<&'a str>,
    /// Whether it has members, listed or not.
    pub(crate) has_properties: bool,
    /// Whether it explicitly allows members that are not listed.
    pub(crate) open: bool,
    /// Whether null is a value of it.
    pub(crate) nullable: bool,
    /// Values of `enum` or `const`.
    pub(crate) values: Option<Vec<&'a Value>>,
    facets: HashMap<&'static str, &'a Value>,
    index: HashMap<&'a str, usize>,
}

impl<'a> Flat<'a> {
    pub(crate) fn facet(&self, name: &str) -> Option<&'a Value> {
        self.facets.get(name).copied()
    }

    /// Adds the names that are required and not described, as members of any type.
    pub(crate) fn list_required(&mut self) {
        static ANY: Value = Value::Bool(true);
        if !matches!(self.kind, Kind::Object | Kind::Unknown) {
            return;
        }
        let mut names: Vec<&'a str> =
            self.required.iter().copied().filter(|name| !self.index.contains_key(name)).collect();
        names.sort_unstable();
        names.into_iter().filter(|name| !name.is_empty()).for_each(|name| self.add_property(name, &ANY));
    }

    fn is_object(&self) -> bool {
        self.kind == Kind::Object || (self.kind == Kind::Unknown && self.has_properties)
    }

    fn add_property(&mut self, name: &'a str, schema: &'a Value) {
        match self.index.get(name).and_then(|at| self.properties.get_mut(*at)) {
            None => {
                self.index.insert(name, self.properties.len());
                self.properties.push((name, schema));
            }
            // Why: `allOf` often names a member of a base again, only to require or describe it.
            Some(known) if !says_type(known.1) && says_type(schema) => known.1 = schema,
            Some(_) => {}
        }
    }

    /// Adds another schema of the same value.
    fn and(&mut self, other: Self) {
        self.kind = match (self.kind, other.kind) {
            (Kind::Unknown | Kind::Mixed, kind) => kind,
            (Kind::Number, Kind::Integer) => Kind::Integer,
            (kind, _) => kind,
        };
        for (name, schema) in other.properties {
            self.add_property(name, schema);
        }
        self.required.extend(other.required);
        self.has_properties |= other.has_properties;
        self.open |= other.open;
        self.nullable |= other.nullable;
        if self.values.is_none() {
            self.values = other.values;
        }
        for (name, value) in other.facets {
            self.facets.entry(name).or_insert(value);
        }
    }
}

fn says_type(schema: &Value) -> bool {
    ["type", "$ref", "allOf", "oneOf", "anyOf", "enum", "properties"].iter().any(|k| schema.get(k).is_some())
}

impl<'a> Context<'a> {
    /// Flattens a schema. Without `members` only its kind and facets are found.
    pub(crate) fn flatten(&mut self, schema: &'a Value, at: &str, members: bool) -> Flat<'a> {
        self.flatten_in(schema, at, members, &mut Vec::new())
    }

    /// Flattens a 2.0 parameter, which is a schema with more members.
    pub(crate) fn flatten_object(&mut self, map: &'a Map<String, Value>, at: &str) -> Flat<'a> {
        let mut flat = Flat::default();
        take_facets(map, FACETS, &mut flat);
        self.own(map, at, false, &mut flat);
        flat
    }

    fn flatten_in(
        &mut self,
        schema: &'a Value,
        at: &str,
        members: bool,
        open: &mut Vec<*const Value>,
    ) -> Flat<'a> {
        if !self.spend(1, at) {
            return Flat::default();
        }
        let mut flat = Flat::default();
        if let (Some(_), Some(map)) = (refs::reference(schema), schema.as_object()) {
            // Why: 3.1 allows a description and a default beside a reference, and 3.0 authors write them too.
            take_facets(map, &["title", "description", "default", "readOnly"], &mut flat);
        }
        let Some(node) = self.resolve(schema, at) else { return flat };
        let Some(map) = node.as_object() else { return flat };
        let known = open.iter().any(|other| std::ptr::eq(*other, node));
        if known || open.len() >= SCHEMA_DEPTH_MAX {
            let (code, why) = if known {
                ("ref_cycle", "leads to itself")
            } else {
                ("schema_too_deep", "is nested too deep")
            };
            if self.is_new_loop(node) {
                let name = shown(refs::reference(schema).unwrap_or("schema"));
                self.report.add(at, code, format!("{name:?} {why}; it is left untyped"));
            }
            return flat;
        }
        open.push(std::ptr::from_ref(node));
        take_facets(map, FACETS, &mut flat);
        self.own(map, at, members, &mut flat);
        for member in map.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            let other = self.flatten_in(member, at, members, open);
            flat.and(other);
        }
        for keyword in ["oneOf", "anyOf"] {
            if let Some(list) = map.get(keyword).and_then(Value::as_array) {
                self.alternatives(list, keyword, at, members, open, &mut flat);
            }
        }
        open.pop();
        flat
    }

    /// What a schema says without its compositions.
    fn own(&mut self, map: &'a Map<String, Value>, at: &str, members: bool, flat: &mut Flat<'a>) {
        flat.kind = kind_of(map);
        let says = |name: &str| map.get(name) == Some(&Value::Bool(true));
        let types = map.get("type").and_then(Value::as_array);
        flat.nullable |= says("nullable")
            || says("x-nullable")
            || types.is_some_and(|types| types.contains(&Value::from("null")));
        if let Some(properties) = map.get("properties").and_then(Value::as_object) {
            flat.has_properties |= !properties.is_empty();
            if members && self.spend(properties.len(), at) {
                properties.iter().for_each(|(name, schema)| flat.add_property(name, schema));
            }
        }
        if members && let Some(list) = map.get("required").and_then(Value::as_array) {
            flat.required.extend(list.iter().filter_map(Value::as_str));
        }
        flat.open = match map.get("additionalProperties") {
            Some(Value::Bool(open)) => *open,
            Some(_) => true,
            None => map.contains_key("patternProperties"),
        };
        flat.values = match (map.get("enum").and_then(Value::as_array), map.get("const")) {
            (Some(list), _) => Some(list.iter().collect()),
            (None, Some(value)) => Some(vec![value]),
            (None, None) => None,
        };
        if members && map.contains_key("discriminator") {
            let message = "which members go together is not checked";
            self.report.add(at, "discriminator", message);
        }
    }

    /// `oneOf` or `anyOf`: a single alternative besides null is used; objects are united; anything
    /// else is untyped.
    fn alternatives(
        &mut self,
        list: &'a [Value],
        keyword: &str,
        at: &str,
        members: bool,
        open: &mut Vec<*const Value>,
        flat: &mut Flat<'a>,
    ) {
        let is_null = |v: &Value| v.get("type").and_then(Value::as_str) == Some("null");
        flat.nullable |= list.iter().any(is_null);
        let mut options = Vec::new();
        for member in list.iter().filter(|v| !is_null(v)) {
            options.push(self.flatten_in(member, at, members, open));
        }
        if options.len() <= 1 {
            options.into_iter().for_each(|only| flat.and(only));
            return;
        }
        let object = flat.is_object();
        let objects = options.iter().all(|o| o.is_object() || (object && o.kind == Kind::Unknown));
        if objects {
            if members {
                let message = format!("the members of {} alternatives ({keyword}) are united", options.len());
                self.report.add(at, "alternatives_united", message);
            }
            unite(options, flat);
            return;
        }
        let kind = options.iter().map(|o| o.kind).reduce(Kind::either).unwrap_or_default();
        if flat.kind == Kind::Unknown {
            flat.kind = if kind == Kind::Unknown { Kind::Mixed } else { kind };
        } else if flat.kind == Kind::Object && members {
            flat.kind = Kind::Mixed;
        }
        // Why: values count only if every alternative is a list of values.
        if flat.values.is_none() && options.iter().all(|o| o.values.is_some()) {
            flat.values = Some(options.into_iter().filter_map(|o| o.values).flatten().collect());
        }
    }
}

/// Unites objects: all their members; required is what every one of them requires.
fn unite<'a>(options: Vec<Flat<'a>>, flat: &mut Flat<'a>) {
    flat.kind = Kind::Object;
    let mut required: Option<HashSet<&'a str>> = None;
    for option in options {
        for (name, schema) in option.properties {
            flat.add_property(name, schema);
        }
        flat.has_properties |= option.has_properties;
        flat.open |= option.open;
        required = Some(match required {
            None => option.required,
            Some(all) => all.intersection(&option.required).copied().collect(),
        });
    }
    flat.required.extend(required.unwrap_or_default());
}

fn take_facets<'a>(schema: &'a Map<String, Value>, names: &[&'static str], flat: &mut Flat<'a>) {
    for name in names {
        if let Some(value) = schema.get(*name) {
            flat.facets.entry(name).or_insert(value);
        }
    }
}

/// The type that a schema has or, without `type`, implies.
fn kind_of(map: &Map<String, Value>) -> Kind {
    match map.get("type") {
        Some(Value::String(name)) => return Kind::parse(name),
        Some(Value::Array(names)) => {
            let kinds = names.iter().filter_map(Value::as_str).filter(|n| *n != "null").map(Kind::parse);
            return kinds.reduce(Kind::either).unwrap_or_default();
        }
        _ => {}
    }
    let has = |names: &[&str]| names.iter().any(|name| map.contains_key(*name));
    if has(&["properties", "additionalProperties", "patternProperties"]) {
        return Kind::Object;
    }
    if has(&["items"]) {
        return Kind::Array;
    }
    let values = map.get("enum").and_then(Value::as_array);
    let kinds =
        values.into_iter().flatten().chain(map.get("const")).filter(|v| !v.is_null()).map(|v| match v {
            Value::String(_) => Kind::String,
            Value::Bool(_) => Kind::Boolean,
            Value::Number(n) if n.is_i64() || n.is_u64() => Kind::Integer,
            Value::Number(_) => Kind::Number,
            _ => Kind::Mixed,
        });
    kinds.reduce(Kind::either).unwrap_or_default()
}

#[cfg(test)]
mod tests;
