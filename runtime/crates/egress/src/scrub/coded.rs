//! Bytes that a text holds in another writing: base64, and arrays of numbers. Their content is searched like
//! a text. Called by the search.

use std::ops::Range;

use memchr::memchr_iter;
use zeroize::Zeroizing;

use super::readings::{self, begins_escape};
use super::search::after_indent;

/// The shortest base64 text that is decoded, characters. Shorter ones hold no more than a short secret, whose
/// own base64 is searched for anyway.
const BASE64_CHARS_MIN: usize = 20;
/// The shortest array of numbers that is taken for bytes.
const NUMBERS_MIN: usize = 4;

/// Decoded bytes, and where they were.
pub(super) struct Run {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    start: usize,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Base64,
    Numbers,
}

impl Run {
    /// The place in the text where these bytes are written.
    pub(super) fn place(&self, text: &[u8], bytes: Range<usize>) -> Option<Range<usize>> {
        // Why read again: almost no run has a secret, and then no position need be kept.
        let mut pieces: Vec<Range<usize>> = Vec::new();
        let (first, last) = match self.kind {
            Kind::Base64 => {
                base64(text, self.start, |_, piece| pieces.push(piece));
                (bytes.start * 8 / 6, (bytes.end * 8).checked_sub(1)? / 6)
            }
            Kind::Numbers => {
                numbers(text, self.start, |_, piece| pieces.push(piece));
                (bytes.start, bytes.end.checked_sub(1)?)
            }
        };
        Some(pieces.get(first)?.start..pieces.get(last)?.end)
    }
}

/// Calls `visit` with every run of the text; ends when it returns true.
pub(super) fn each(text: &[u8], mut visit: impl FnMut(&Run) -> bool) {
    let mut done = 0;
    // Why in steps: a run of that length has one of these positions.
    let mut probe = BASE64_CHARS_MIN - 1;
    while let Some(byte) = text.get(probe) {
        if sextet(*byte).is_some()
            && let Some(starts) = starts_of_run(text, probe, done)
        {
            for start in starts {
                let plain =
                    text.get(probe..).unwrap_or_default().iter().take_while(|b| sextet(**b).is_some());
                let mut bytes = Zeroizing::new(Vec::with_capacity(probe - start + plain.count()));
                let end = decode(text, start, &mut bytes);
                if end > probe {
                    done = end;
                    if visit(&Run { bytes, start, kind: Kind::Base64 }) {
                        return;
                    }
                    break;
                }
            }
        }
        probe = (probe + BASE64_CHARS_MIN).max(done);
    }
    let mut done = 0;
    for at in memchr_iter(b'[', text) {
        if at < done {
            continue;
        }
        let mut bytes = Zeroizing::new(Vec::new());
        done = numbers(text, at + 1, |value, _| bytes.push(value));
        if bytes.len() >= NUMBERS_MIN && visit(&Run { bytes, start: at + 1, kind: Kind::Numbers }) {
            return;
        }
    }
}

/// Six bits of a base64 character, of either alphabet.
const fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// Where the run around this position may begin, if it is long enough; not before `least`.
fn starts_of_run(text: &[u8], at: usize, least: usize) -> Option<[usize; 2]> {
    let before = text.get(least..at)?;
    let plain = before.iter().rev().take_while(|byte| sextet(**byte).is_some()).count();
    let after = text.get(at..)?.iter().take(BASE64_CHARS_MIN).take_while(|byte| sextet(**byte).is_some());
    if plain + after.count() < BASE64_CHARS_MIN {
        return None;
    }
    // Why over escapes: the groups of four are counted from the first character, lines before this included.
    let member = |byte: &&u8| sextet(**byte).is_some() || matches!(byte, b'\\' | b'%' | b'\r' | b'\n');
    let whole = before.iter().rev().take_while(member).count();
    Some([at - whole, at - plain])
}

/// Appends the bytes of the base64 from here on; returns its end.
fn decode(text: &[u8], start: usize, bytes: &mut Vec<u8>) -> usize {
    let (mut held, mut bits) = (0_u32, 0_u32);
    base64(text, start, |value, _| {
        held = (held << 6 | u32::from(value)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits).to_le_bytes()[0]);
        }
    })
}

/// Reads base64 from here on, over line breaks and escapes: calls `take` with the value and the place of each
/// character; returns the end.
fn base64(text: &[u8], start: usize, mut take: impl FnMut(u8, Range<usize>)) -> usize {
    let mut at = start;
    while let Some(byte) = text.get(at) {
        if let Some(value) = sextet(*byte) {
            take(value, at..at + 1);
            at += 1;
        } else if matches!(byte, b'\r' | b'\n') {
            at = after_indent(text, at + 1);
        } else if begins_escape(*byte) && *byte != b'=' {
            let found = readings::escapes(text, at);
            let next = found.as_slice().iter().find_map(|reading| match reading.bytes() {
                [b'\r' | b'\n'] => Some((None, reading.end)),
                [byte] => Some((Some(sextet(*byte)?), reading.end)),
                _ => None,
            });
            match next {
                Some((Some(value), end)) => {
                    take(value, at..end);
                    at = end;
                }
                Some((None, end)) => at = after_indent(text, end),
                None => break,
            }
        } else {
            break;
        }
    }
    at
}

/// Reads numbers from -128 to 255 from here on, with a comma or a space between them: calls `take` with each
/// and its place; returns the end.
fn numbers(text: &[u8], start: usize, mut take: impl FnMut(u8, Range<usize>)) -> usize {
    let mut at = start;
    let skip = |at: usize, skipped: fn(&u8) -> bool| {
        at + text.get(at..).unwrap_or_default().iter().take_while(|byte| skipped(byte)).count()
    };
    loop {
        let begin = skip(at, u8::is_ascii_whitespace);
        let sign = usize::from(text.get(begin) == Some(&b'-'));
        let end = skip(begin + sign, u8::is_ascii_digit);
        let word = text.get(begin..end).filter(|word| word.len() <= 4);
        let number = word.and_then(|word| std::str::from_utf8(word).ok()).and_then(|word| word.parse().ok());
        let Some(number) = number.filter(|number: &i16| (-128..=255).contains(number)) else { return at };
        // Why the low byte: Java writes bytes beyond 127 with a sign.
        take(number.to_le_bytes()[0], begin..end);
        let next = skip(end, u8::is_ascii_whitespace);
        let comma = usize::from(text.get(next) == Some(&b','));
        if next + comma == end {
            return end;
        }
        at = next + comma;
    }
}
