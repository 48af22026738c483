//! A number whose digits are kept comes from `serde_json` as an object with one member of a private name, whose value is
//! an owned text. In a document a member of that name is a member: its text is never handed over owned.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{NUMBER, Next, Place};

/// What the member of that name was.
pub(super) enum Found {
    /// The digits of a number.
    Digits(String),
    /// A member of the document; the reader is inside its object then.
    Member(Value),
}

/// Reads the value of that member.
pub(super) struct First<'p>(pub(super) &'p mut Place);

impl First<'_> {
    fn member<E: serde::de::Error>(
        self,
        read: impl FnOnce(Next<'_>) -> Result<Value, E>,
    ) -> Result<Found, E> {
        self.0.descend()?;
        let outer = self.0.enter_member(NUMBER);
        let value = read(self.0.next())?;
        self.0.leave(outer);
        Ok(Found::Member(value))
    }
}

impl<'de> DeserializeSeed<'de> for First<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for First<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_string<E: serde::de::Error>(self, digits: String) -> Result<Found, E> {
        Ok(Found::Digits(digits))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Found, E> {
        self.member(|next| next.visit_str(value))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Found, E> {
        self.member(|next| next.visit_unit())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Found, E> {
        self.member(|next| next.visit_bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Found, E> {
        self.member(|next| next.visit_i64(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Found, E> {
        self.member(|next| next.visit_u64(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Found, E> {
        self.member(|next| next.visit_f64(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, entries: A) -> Result<Found, A::Error> {
        self.member(|next| next.visit_seq(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Found, A::Error> {
        self.member(|next| next.visit_map(members))
    }
}
