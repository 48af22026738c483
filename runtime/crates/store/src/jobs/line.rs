//! Lines: of the jobs of a line only the first is executed, in the order in which they were stored.
//!
//! What a line is made of is the engine's business: here it has a name.

use portcullis_core::hex;
use serde::{Deserialize, Serialize};

use super::Job;

/// A job's place in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinePlace {
    /// The line's name.
    pub name: LineName,
    /// Its number in the line: a job that was accepted later has a larger one.
    pub turn: u64,
    /// Whether one that is ahead has not ended: nobody leases it until then.
    #[serde(default)]
    pub held: bool,
    /// Whether it came to its turn although one that was accepted before it is dead, or after one that was accepted
    /// later.
    #[serde(default)]
    pub out_of_order: bool,
}

/// The name of a line within a workspace: 32 hexadecimal digits, so that its length is bounded and it says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LineName(String);

impl LineName {
    /// The name of these bytes, which are a hash.
    #[must_use]
    pub fn of(hash: [u8; 16]) -> Self {
        Self(hex::encode(&hash))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<LineName> for String {
    fn from(name: LineName) -> Self {
        name.0
    }
}

impl TryFrom<String> for LineName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_name = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_name { Ok(Self(text)) } else { Err("a line's name is 32 hexadecimal digits") }
    }
}

impl Job {
    /// Whether it waits until one that is ahead of it has ended.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.state.is_open() && self.line.as_ref().is_some_and(|line| line.held)
    }

    /// Whether it came to its turn out of the order of its line.
    #[must_use]
    pub fn is_out_of_order(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.out_of_order)
    }
}
