//! The search for the forms of secrets in a text. Its work is bounded by the length of the text, whatever the
//! text and the secrets are.

use std::ops::Range;

use super::coded;
use super::forms::Needle;
use super::memo::Memo;
use super::readings::{Reading, Readings, begins_escape};
use super::starts::Starts;

/// The most steps of the search for one byte of a text. One that is full of secrets takes four, any other that is no
/// attack less than one.
const STEPS_PER_BYTE: usize = 24;
/// Steps that a text of any length may take.
const STEPS_MIN: usize = 1 << 16;
/// Steps that reading an escape is worth.
const READING_STEPS: usize = 20;
/// Forms that are told apart from what is here in one step.
const FORMS_A_STEP: usize = 8;
/// Forks that are looked through in one step.
const FORKS_A_STEP: usize = 8;
/// How often a text may be base64 or an array of numbers, and what is in it again.
const CODED_MAX: u32 = 2;

/// The search would take too long: whether there is a secret is not known.
pub(super) struct TooLong;

/// One search.
pub(super) struct Search<'a, F> {
    starts: &'a Starts,
    needles: F,
    /// Steps that are left.
    steps: usize,
    once: bool,
    memo: Memo,
}

/// The steps that a search in a text may take.
pub(super) const fn steps(text: &[u8]) -> usize {
    text.len().saturating_mul(STEPS_PER_BYTE).saturating_add(STEPS_MIN)
}

impl<'a, F: Fn() -> &'a [Needle]> Search<'a, F> {
    /// A search of at most `steps` steps. `needles` makes the forms to look for, and is called when a start of one was
    /// found. With `once` the search ends at the first place.
    pub(super) fn new(starts: &'a Starts, needles: F, steps: usize, once: bool) -> Self {
        Self { starts, needles, steps, once, memo: Memo::default() }
    }

    /// The places of secrets in a text, in no order.
    ///
    /// # Errors
    /// [`TooLong`].
    pub(super) fn places(&mut self, text: &[u8]) -> Result<Vec<Range<usize>>, TooLong> {
        let mut places = Vec::new();
        self.text(text, 0, &mut places)?;
        Ok(places)
    }

    fn text(&mut self, text: &[u8], depth: u32, places: &mut Vec<Range<usize>>) -> Result<(), TooLong> {
        let (starts, once) = (self.starts, self.once);
        self.memo.next_text();
        let mut spent = false;
        starts.any(text, |at| {
            match self.at(text, at) {
                Ok(Some(end)) => places.push(whole_escapes(text, at..end)),
                Ok(None) => {}
                Err(TooLong) => spent = true,
            }
            spent || once && !places.is_empty()
        });
        if spent {
            return Err(TooLong);
        }
        if depth >= CODED_MAX || once && !places.is_empty() {
            return Ok(());
        }
        let mut outcome = Ok(());
        coded::each(text, |run| {
            let mut inner = Vec::new();
            outcome = self.text(&run.bytes, depth + 1, &mut inner);
            places.extend(inner.into_iter().filter_map(|place| run.place(text, place)));
            outcome.is_err() || once && !places.is_empty()
        });
        outcome
    }

    fn spend(&mut self, steps: usize) -> Result<(), TooLong> {
        self.steps = self.steps.checked_sub(steps).ok_or(TooLong)?;
        Ok(())
    }

    fn escapes(&mut self, text: &[u8], at: usize) -> Result<Readings, TooLong> {
        let (readings, were_read) = self.memo.get(text, at);
        self.spend(if were_read { READING_STEPS } else { 1 })?;
        Ok(readings)
    }

    /// The end of the longest form that begins here.
    fn at(&mut self, text: &[u8], at: usize) -> Result<Option<usize>, TooLong> {
        let first = text.get(at).copied().unwrap_or_default();
        let found = if begins_escape(first) { self.escapes(text, at)? } else { Readings::default() };
        let needles = (self.needles)();
        self.spend(1 + needles.len() / FORMS_A_STEP)?;
        let mut longest = None;
        for needle in needles {
            let spelled =
                |reading: &Reading| !reading.bytes().is_empty() && needle.bytes.starts_with(reading.bytes());
            // Why before: almost no form begins with what is here.
            if needle.bytes.first() == Some(&first) || found.as_slice().iter().any(spelled) {
                longest = longest.max(self.needle(text, at, needle)?);
            }
        }
        Ok(longest)
    }

    /// The end of this form, if it begins here.
    fn needle(&mut self, text: &[u8], at: usize, needle: &Needle) -> Result<Option<usize>, TooLong> {
        let mut waiting = vec![(0, at)];
        // Places where the text was read in more than one way; from each it is read once.
        let mut forks: Vec<(usize, usize)> = Vec::new();
        while let Some((mut done, mut at)) = waiting.pop() {
            loop {
                self.spend(1)?;
                let Some(wanted) = needle.bytes.get(done) else { return Ok(Some(at)) };
                let Some(byte) = text.get(at) else { break };
                let in_line_break = needle.in_lines && done > 0 && matches!(byte, b'\n' | b'\r');
                if !begins_escape(*byte) && !in_line_break {
                    if byte != wanted {
                        break;
                    }
                    (done, at) = (done + 1, at + 1);
                    continue;
                }
                if forks.contains(&(done, at)) {
                    break;
                }
                forks.push((done, at));
                self.spend(forks.len() / FORKS_A_STEP)?;
                let found = self.escapes(text, at)?;
                fork((text, at), &found, (needle, done), &mut waiting);
                break;
            }
        }
        Ok(None)
    }
}

/// The place, and the rest of the escape that begins or ends it half: what is left of the text must still be read.
fn whole_escapes(text: &[u8], place: Range<usize>) -> Range<usize> {
    let is_half = |at: usize| {
        let before = text.get(..at).unwrap_or_default().iter().rev();
        before.take_while(|byte| **byte == b'\\').count() % 2 == 1
    };
    let start = place.start - usize::from(is_half(place.start));
    let end = place.end + usize::from(is_half(place.end) && place.end < text.len());
    start..end
}

/// Adds every way to read on from a piece with several readings. The longest piece comes last, to be tried first;
/// a quotation mark that is written twice is tried after all others.
fn fork(
    (text, at): (&[u8], usize),
    found: &Readings,
    (needle, done): (&Needle, usize),
    waiting: &mut Vec<(usize, usize)>,
) {
    let rest = needle.bytes.get(done..).unwrap_or_default();
    let next = |bytes: &[u8], end: usize| {
        if rest.starts_with(bytes) && (done > 0 || !bytes.is_empty()) {
            Some((done + bytes.len(), end))
        } else if needle.in_lines && done > 0 && matches!(bytes, [b'\n' | b'\r']) {
            Some((done, after_indent(text, end)))
        } else {
            None
        }
    };
    let inside = |next: &(usize, usize)| done > 0 && next.0 < needle.bytes.len();
    let quotes = found.as_slice().iter().filter(|reading| reading.quotes);
    waiting.extend(quotes.filter_map(|reading| next(reading.bytes(), reading.end)).filter(inside));
    let tried_first = waiting.len();
    waiting.extend(text.get(at).and_then(|byte| next(&[*byte], at + 1)));
    let others = found.as_slice().iter().filter(|reading| !reading.quotes);
    waiting.extend(others.filter_map(|reading| next(reading.bytes(), reading.end)));
    if let Some(added) = waiting.get_mut(tried_first..) {
        added.sort_unstable_by_key(|(_, end)| *end);
    }
}

/// The position after the white space that begins a line.
pub(super) fn after_indent(text: &[u8], at: usize) -> usize {
    let blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
    at + text.get(at..).unwrap_or_default().iter().take_while(blank).count()
}
