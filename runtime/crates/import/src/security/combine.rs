//! Several credentials that one request needs at once.

use serde_json::{Map, Value, json};

use super::scheme::{Field, Place, Usable};
use crate::bases::Bases;
use crate::names::field_name;

/// How well a requirement can be met, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fitness {
    /// As it is described.
    Whole,
    /// With a token that a person obtains.
    Fallback,
    /// Without those that go to the same place as another one.
    Part,
}

/// The schemes of one requirement.
pub(super) struct Choice<'a> {
    pub(super) schemes: Vec<(&'a str, Usable)>,
    /// Names of those that go to the same place as another one.
    pub(super) dropped: Vec<&'a str>,
    pub(super) fitness: Fitness,
}

/// One of each place; the one that is usable whole if several go there.
pub(super) fn choice(all: Vec<(&str, Usable)>) -> Option<Choice<'_>> {
    let mut schemes: Vec<(&str, Usable)> = Vec::new();
    let mut dropped = Vec::new();
    for (name, usable) in all {
        match schemes.iter_mut().find(|(_, known)| known.place == usable.place) {
            None => schemes.push((name, usable)),
            Some(known) if usable.fitness() < known.1.fitness() => {
                dropped.push(known.0);
                *known = (name, usable);
            }
            Some(_) => dropped.push(name),
        }
    }
    // Why one: each is a type of its own, and a definition has one type.
    let leading = schemes.iter().filter(|(_, usable)| usable.value.is_none()).count();
    if schemes.is_empty() || leading > 1 {
        return None;
    }
    let worst = schemes.iter().map(|(_, usable)| usable.fitness()).max();
    let fitness = if dropped.is_empty() { worst.unwrap_or(Fitness::Whole) } else { Fitness::Part };
    Some(Choice { schemes, dropped, fitness })
}

/// The `auth_type`, `auth` and form of a draft.
pub(super) struct Joined {
    pub(super) auth_type: &'static str,
    pub(super) auth: Map<String, Value>,
    pub(super) fields: Vec<Field>,
}

/// Joins schemes: `custom` if each is a text in a header or query pair, otherwise `places` beside the one that is
/// more than that.
pub(super) fn join(mut schemes: Vec<(&str, Usable)>, bases: &mut Bases) -> Joined {
    if schemes.len() > 1 {
        distinguish(&mut schemes, bases);
    }
    let fields = schemes.iter().flat_map(|(_, usable)| usable.fields.clone()).collect();
    let is_custom = schemes.len() > 1
        && schemes.iter().all(|(_, usable)| usable.value.is_some() && usable.place.kind != "cookie");
    if is_custom {
        let mut custom = Map::new();
        for (_, usable) in schemes {
            let group = if usable.place.kind == "query" { "query" } else { "headers" };
            let values = custom.entry(group).or_insert_with(|| json!({}));
            if let Some(values) = values.as_object_mut() {
                values.insert(usable.name, json!(usable.value));
            }
        }
        let auth = Map::from_iter([("custom".to_owned(), Value::Object(custom))]);
        return Joined { auth_type: "custom", auth, fields };
    }
    // A stable sort: the one with a type of its own first.
    schemes.sort_by_key(|(_, usable)| usable.value.is_some());
    let mut schemes = schemes.into_iter().map(|(_, usable)| usable);
    let Some(first) = schemes.next() else {
        return Joined { auth_type: "none", auth: Map::new(), fields };
    };
    let mut auth = first.auth;
    let places: Vec<Value> = schemes
        .map(|other| json!({ "in": other.place.kind, "name": other.name, "value": other.value }))
        .collect();
    if !places.is_empty() {
        if let Some(value) = first.value {
            auth.insert("prefix".to_owned(), json!(""));
            auth.insert("value".to_owned(), json!(value));
        }
        auth.insert("places".to_owned(), Value::Array(places));
    }
    Joined { auth_type: first.auth_type, auth, fields }
}

/// Gives every field a name of its own: several keys are told by where they go.
fn distinguish(schemes: &mut [(&str, Usable)], bases: &mut Bases) {
    let names = schemes.iter().flat_map(|(_, usable)| usable.fields.iter().map(|field| field.name.clone()));
    let names: Vec<String> = names.collect();
    let is_twice = |name: &String| names.iter().filter(|other| *other == name).count() > 1;
    for (_, usable) in schemes.iter_mut() {
        let Some(field) = usable.fields.first_mut().filter(|field| is_twice(&field.name)) else { continue };
        let plain = field_name(&usable.name.to_ascii_lowercase());
        let own = bases.reserve(&plain);
        if let Some(value) = &mut usable.value {
            *value = value.replace(&format!("{{{{cred.{}}}}}", field.name), &format!("{{{{cred.{own}}}}}"));
        }
        field.name = own;
        field.label = usable.name.clone();
    }
}

impl Place {
    /// Where a header, query pair or cookie is; header names by their usual spelling.
    pub(super) fn new(kind: &'static str, name: &str) -> Self {
        let name = match kind {
            "header" => super::scheme::fold(name),
            "query" => name.to_ascii_lowercase(),
            _ => name.to_owned(),
        };
        Self { kind, name }
    }
}
