//! The readings of the places that a search looked at last. Positions beside each other and the forms of a secret lead
//! through the same places, and reading one is the dearest step of a search.

use super::readings::{self, Readings};

/// Places that are remembered, by the low bits of their position: more than a usual secret is long in escapes.
const PLACES: usize = 256;

/// Readings by place.
#[derive(Default)]
pub(super) struct Memo {
    /// Empty until the first place is read: most searches read none.
    known: Vec<Known>,
    /// The text that is searched: one inside another has positions of its own.
    text: usize,
}

#[derive(Clone, Default)]
struct Known {
    text: usize,
    at: usize,
    readings: Readings,
}

impl Memo {
    /// What follows is about another text.
    pub(super) const fn next_text(&mut self) {
        self.text += 1;
    }

    /// The readings at a place, and whether they had to be read.
    pub(super) fn get(&mut self, text: &[u8], at: usize) -> (Readings, bool) {
        if self.known.is_empty() {
            self.known.resize(PLACES, Known::default());
        }
        let Some(known) = self.known.get_mut(at % PLACES) else { return (readings::escapes(text, at), true) };
        let is_known = known.text == self.text && known.at == at;
        if !is_known {
            *known = Known { text: self.text, at, readings: readings::escapes(text, at) };
        }
        (known.readings.clone(), !is_known)
    }
}
