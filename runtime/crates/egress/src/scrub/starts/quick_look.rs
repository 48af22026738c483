//! Whether an escape can stand for a byte of a start, judged by a quick look: almost none can, and then it is not
//! read.

use super::super::readings::{begins_escape, entity_names, named};
use super::{Starts, has};

/// More backslashes than a character has before it in a text that was escaped as often as is read.
const BACKSLASHES_MAX: usize = 8;

/// The longest name of a character reference that is known.
const NAME_BYTES_MAX: usize = 8;

impl Starts {
    pub(super) fn may_escape(&self, text: &[u8], at: usize) -> bool {
        let byte = |place: usize| text.get(at + place).copied().unwrap_or_default();
        let next = byte(1);
        match text.get(at) {
            Some(b'\\') => self.may_follow_backslashes(text, at),
            // Why no escaped digits: what escapes them escapes the character before them, too.
            Some(b'=') => match next {
                b'\r' | b'\n' => self.may_go_on(text, at),
                _ => next.is_ascii_hexdigit() && byte(2).is_ascii_hexdigit() || matches!(next, b'\\' | b'%'),
            },
            Some(b'%') => match (next, byte(2)) {
                // A printable character, by two digits.
                (b'2'..=b'7', low) if low.is_ascii_hexdigit() => {
                    let digit =
                        |byte| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                    let byte = digit(next).unwrap_or_default() << 4 | digit(low).unwrap_or_default();
                    begins_escape(byte) || has(&self.bytes, byte)
                }
                _ => next.is_ascii_hexdigit() || matches!(next, b'u' | b'U'),
            },
            Some(b'&') => next == b'#' || next.is_ascii_alphabetic() && self.may_be_named(text, at + 1),
            _ => true,
        }
    }

    /// Whether the name of a character that may be in a start is here.
    fn may_be_named(&self, text: &[u8], at: usize) -> bool {
        let rest = text.get(at..).unwrap_or_default();
        let length = rest.iter().take(NAME_BYTES_MAX).take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let after = |place: usize| rest.get(place).copied().unwrap_or_default();
        if after(length) != b';' {
            // The semicolon alone is escaped in a form.
            return after(length) == b'%';
        }
        let character = entity_names::character(rest.get(..length).unwrap_or_default());
        match character.map(u8::try_from) {
            Some(Ok(b'&')) => {
                let next = after(length + 1);
                has(&self.bytes, b'&') || next == b'#' || next.is_ascii_alphabetic() || next == b'&'
            }
            Some(Ok(byte)) if byte.is_ascii() => begins_escape(byte) || has(&self.bytes, byte),
            Some(_) => true,
            None => false,
        }
    }

    /// The same for a backslash, which is often one of several: each escaping of a text doubles them.
    fn may_follow_backslashes(&self, text: &[u8], at: usize) -> bool {
        let rest = text.get(at..).unwrap_or_default();
        let count = rest.iter().take(BACKSLASHES_MAX).take_while(|byte| **byte == b'\\').count();
        if count > 1 && has(&self.bytes, b'\\') {
            return true;
        }
        let after = rest.get(count).copied().unwrap_or_default();
        let is_number = match after {
            b'u' | b'U' | b'x' | b'X' | b'0'..=b'9' => true,
            _ => after.is_ascii_hexdigit() && rest.get(count + 1).is_some_and(u8::is_ascii_hexdigit),
        };
        count < BACKSLASHES_MAX
            && (is_number
                || matches!(after, b'%' | b'&' | b'=')
                || matches!(after, b'n' | b'r' | b'\n' | b'\r') && self.may_go_on(text, at)
                || has(&self.bytes, after)
                || named(after).is_some_and(|byte| has(&self.bytes, byte)))
    }

    /// Whether a form may have begun before a line break here.
    pub(super) fn may_go_on(&self, text: &[u8], at: usize) -> bool {
        at.checked_sub(1).and_then(|before| text.get(before)).is_some_and(|byte| has(&self.bytes, *byte))
    }
}
