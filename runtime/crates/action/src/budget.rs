//! What one piece of work may cost: bytes made and steps taken, asked for before they are spent.
//!
//! Templates, filters, mappings, bodies and conditions are written by tenants and definitions, and read what callers
//! and upstreams send. A few characters of either can ask for gigabytes, so all of them draw from a budget that
//! covers the whole piece of work: one request, one mapping, one condition, all examples of a definition. The numbers
//! come from the host's limits.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

/// Default of `limits.rendered_bytes`: no request is larger by default, and half of a guest's memory.
pub const RENDERED_BYTES: u64 = 8 * 1024 * 1024;
/// Default of `limits.matching_steps`.
pub const MATCHING_STEPS: u64 = 50_000_000;

/// How many times an answer its output may have: a few members of it and the whole of it, never hundreds of copies.
const ANSWER_TIMES: u64 = 8;
/// What may be made of a small answer.
const ANSWER_BYTES_MIN: u64 = 64 * 1024;

/// Steps for each byte that may be made: a text may be read by a few filters before something is made of it.
const STEPS_PER_BYTE: u64 = 4;
/// What a value counts besides its text: a lower bound of its JSON and of the work to copy it.
const VALUE_BYTES: u64 = 4;

/// The work would cost more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("would need more than {max} {unit} ({limit})")]
pub struct Exceeded {
    /// The most that is allowed.
    pub max: u64,
    /// Of what.
    pub unit: &'static str,
    /// The limit that says so.
    pub limit: &'static str,
}

/// What is left for one piece of work.
// Why atomics: a reference may be kept while a call waits. Only one task ever spends.
#[derive(Debug)]
pub struct Budget {
    bytes: AtomicU64,
    steps: AtomicU64,
    bytes_max: u64,
    steps_max: u64,
    limit: &'static str,
}

impl Budget {
    /// For work that something else bounds: a guest's fuel, the size of a document that is read once.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self::new(u64::MAX, u64::MAX, "")
    }

    /// For templates, filters and bodies: the bytes that may be made, intermediate texts included. A few times as many
    /// may be read.
    #[must_use]
    pub const fn rendering(bytes: u64) -> Self {
        Self::named(bytes, "limits.rendered_bytes")
    }

    /// As [`Self::rendering`], in a guest: it reads less, so that its budget ends before its fuel, which would not say
    /// why.
    #[must_use]
    pub const fn guest(bytes: u64) -> Self {
        Self::new(bytes, bytes.saturating_mul(2), "limits.rendered_bytes")
    }

    /// For judging an answer in a guest: what may be made of so many bytes is 8 times as much; its fuel bounds the
    /// steps.
    #[must_use]
    pub const fn answer(bytes: u64) -> Self {
        let most = bytes.saturating_mul(ANSWER_TIMES);
        let most = if most < ANSWER_BYTES_MIN { ANSWER_BYTES_MIN } else { most };
        Self::new(most, u64::MAX, "as many times an answer as its output may have")
    }

    /// For conditions, which take steps and make nothing.
    #[must_use]
    pub const fn matching(steps: u64) -> Self {
        Self::new(0, steps, "limits.matching_steps")
    }

    /// For a whole document's work under the name of its limit: as [`Self::rendering`].
    #[must_use]
    pub const fn named(bytes: u64, limit: &'static str) -> Self {
        Self::new(bytes, bytes.saturating_mul(STEPS_PER_BYTE), limit)
    }

    const fn new(bytes_max: u64, steps_max: u64, limit: &'static str) -> Self {
        Self {
            bytes: AtomicU64::new(bytes_max),
            steps: AtomicU64::new(steps_max),
            bytes_max,
            steps_max,
            limit,
        }
    }

    /// Asks for bytes that are about to be made.
    ///
    /// # Errors
    /// [`Exceeded`] if fewer are left; nothing more can be made then.
    #[inline]
    pub fn make(&self, bytes: usize) -> Result<(), Exceeded> {
        let error = Exceeded { max: self.bytes_max, unit: "bytes", limit: self.limit };
        spend(&self.bytes, bytes as u64).ok_or(error)?;
        self.step(bytes as u64)
    }

    /// Asks for steps that are about to be taken.
    ///
    /// # Errors
    /// [`Exceeded`] if fewer are left; nothing more can be done then.
    #[inline]
    pub fn step(&self, steps: u64) -> Result<(), Exceeded> {
        let error = Exceeded { max: self.steps_max, unit: "steps", limit: self.limit };
        spend(&self.steps, steps).ok_or(error)
    }

    /// Asks for the copy of a value.
    ///
    /// # Errors
    /// [`Exceeded`]; the value is walked no further than the budget reaches.
    pub fn copy(&self, value: &Value) -> Result<(), Exceeded> {
        let own = match value {
            Value::String(text) => text.len() as u64,
            _ => 0,
        };
        self.make(usize::try_from(own.saturating_add(VALUE_BYTES)).unwrap_or(usize::MAX))?;
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.copy(item)),
            Value::Object(map) => map.iter().try_for_each(|(name, item)| {
                self.make(name.len())?;
                self.copy(item)
            }),
            _ => Ok(()),
        }
    }

    /// The bytes made so far.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.bytes_max.saturating_sub(self.bytes.load(Ordering::Relaxed))
    }

    /// The steps taken so far.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.steps_max.saturating_sub(self.steps.load(Ordering::Relaxed))
    }

    /// A value as JSON text.
    ///
    /// # Errors
    /// [`Exceeded`]; the text is written no further than the budget reaches.
    pub fn json(&self, value: &Value) -> Result<String, Exceeded> {
        let mut out = Bounded { bytes: Vec::new(), budget: self, exceeded: None };
        match (serde_json::to_writer(&mut out, value), out.exceeded) {
            (_, Some(exceeded)) => Err(exceeded),
            // Why no error: a value can always be written, and JSON is UTF-8.
            _ => Ok(String::from_utf8(out.bytes).unwrap_or_default()),
        }
    }
}

/// Takes an amount from what is left; what does not fit uses it up.
#[inline]
fn spend(left: &AtomicU64, amount: u64) -> Option<()> {
    let rest = left.load(Ordering::Relaxed).checked_sub(amount);
    left.store(rest.unwrap_or_default(), Ordering::Relaxed);
    rest.map(|_| ())
}

/// Text that stops growing where its budget ends.
struct Bounded<'b> {
    bytes: Vec<u8>,
    budget: &'b Budget,
    exceeded: Option<Exceeded>,
}

impl io::Write for Bounded<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if let Err(exceeded) = self.budget.make(piece.len()) {
            self.exceeded = Some(exceeded);
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_budget_ends_at_its_border() {
        let budget = Budget::rendering(10);
        assert_eq!((budget.make(4), budget.make(6), budget.made()), (Ok(()), Ok(()), 10));
        let error = budget.make(1).unwrap_err();
        assert_eq!(error.to_string(), "would need more than 10 bytes (limits.rendered_bytes)");
        assert!(Budget::rendering(10).step(40).is_ok());
        assert!(Budget::rendering(10).step(41).is_err());
        assert!(Budget::matching(5).make(1).is_err(), "conditions make nothing");
    }

    #[test]
    fn what_does_not_fit_uses_up_the_rest() {
        let budget = Budget::rendering(10);
        assert!(budget.make(11).is_err());
        assert!(budget.make(1).is_err(), "a smaller piece after a refused one would be half a result");
    }

    #[test]
    fn a_value_is_weighed_and_written_no_further_than_the_budget_reaches() {
        let value = json!({ "a": ["xx", 1, { "b": null }], "c": "\u{1}" });
        let text = value.to_string();
        assert_eq!(Budget::rendering(text.len() as u64).json(&value), Ok(text.clone()));
        let budget = Budget::rendering(text.len() as u64 - 1);
        assert!(budget.json(&value).is_err());
        assert!(budget.made() < text.len() as u64);
        // Seven values, three names and three bytes of text.
        assert!(Budget::rendering(7 * VALUE_BYTES + 3 + 3).copy(&value).is_ok());
        assert!(Budget::rendering(7 * VALUE_BYTES + 3 + 2).copy(&value).is_err());
    }
}
