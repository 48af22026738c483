//! An object whose members are looked up by name.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::Reader;
use super::reader::{NAMES_MAX, is_same};

/// The members of an object, as JSON texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members<'t> {
    list: Vec<(&'t str, Cow<'t, str>)>,
    /// Whether a member is null or empty.
    has_empty: bool,
}

impl<'t> Members<'t> {
    /// Reads the text of an object; `None` if it must be read as a [`Map`], or is not an object.
    #[must_use]
    pub fn read(text: &'t str) -> Option<Self> {
        let mut reader = Reader::new(text);
        let mut list: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(8);
        let mut has_empty = false;
        reader.members(|reader, name| {
            let value = reader.value()?;
            if list.len() >= NAMES_MAX {
                return None;
            }
            let known = list.iter().any(|(other, _)| is_same(other.as_bytes(), name.as_bytes()));
            has_empty |= matches!(value.as_ref(), "null" | "\"\"" | "[]" | "{}");
            list.push((name, value));
            (!known).then_some(())
        })?;
        reader.end()?;
        Some(Self { list, has_empty })
    }

    /// The text of a member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.list.iter().find(|(other, _)| is_same(other.as_bytes(), name.as_bytes()));
        found.map(|(_, text)| text.as_ref())
    }
}

/// An object, parsed or as the texts of its members. What a call does not look into stays text.
#[derive(Debug, Clone, Copy)]
pub enum Object<'a> {
    /// Parsed.
    Map(&'a Map<String, Value>),
    /// As text.
    Members(&'a Members<'a>),
}

impl<'a> From<&'a Map<String, Value>> for Object<'a> {
    fn from(map: &'a Map<String, Value>) -> Self {
        Self::Map(map)
    }
}

impl<'a> From<&'a Members<'a>> for Object<'a> {
    fn from(members: &'a Members<'a>) -> Self {
        Self::Members(members)
    }
}

impl<'a> Object<'a> {
    /// The value of a member.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Cow<'a, Value>> {
        match self {
            Self::Map(map) => map.get(name).map(Cow::Borrowed),
            Self::Members(members) => members.get(name).map(|text| Cow::Owned(read(text))),
        }
    }

    /// Whether it may have a member that is null or empty.
    pub(crate) const fn may_have_empty(self) -> bool {
        match self {
            Self::Map(_) => true,
            Self::Members(members) => members.has_empty,
        }
    }

    /// The whole object, parsed.
    pub(crate) fn to_map(self) -> Cow<'a, Map<String, Value>> {
        match self {
            Self::Map(map) => Cow::Borrowed(map),
            Self::Members(members) => {
                Cow::Owned(members.list.iter().map(|(name, text)| ((*name).to_owned(), read(text))).collect())
            }
        }
    }
}

/// The value of a compact JSON text.
pub(crate) fn read(text: &str) -> Value {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    if let Some(inner) = inner.filter(|inner| !inner.contains('\\')) {
        return Value::String(inner.to_owned());
    }
    // Why no error: the text was read before, and what the reader accepts is JSON.
    serde_json::from_str(text).unwrap_or_default()
}
