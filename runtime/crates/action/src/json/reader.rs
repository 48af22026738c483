//! One pass over a JSON text.

use std::borrow::Cow;

/// Deepest nesting that is read here; less than `serde_json` accepts.
const DEPTH_MAX: u32 = 100;
/// Longest number, digits: such integers fit 64 bits, and such floats are written back unchanged.
const DIGITS_MAX: usize = 15;

/// Most objects have no more members; memory for this number of names is reserved.
const NAMES: usize = 16;

/// Maximum members of an object that is read in one pass.
pub(super) const NAMES_MAX: usize = 64;

/// If this is an object's first name, `serde_json` reads the member's text in place of the object.
const EMBEDDED: &[u8] = b"$serde_json::private::RawValue";

const LOWEST: u64 = 0x0101_0101_0101_0101;
const HIGHEST: u64 = 0x8080_8080_8080_8080;

/// A position in a text.
pub(crate) struct Reader<'t> {
    text: &'t str,
    rest: &'t [u8],
    /// The output for the current value, up to `kept`.
    written: String,
    /// Start of the part of the text that is copied unchanged.
    kept: usize,
    /// Names of the members of the objects around the position.
    names: Vec<&'t [u8]>,
}

impl<'t> Reader<'t> {
    pub(crate) const fn new(text: &'t str) -> Self {
        Self { text, rest: text.as_bytes(), written: String::new(), kept: 0, names: Vec::new() }
    }

    /// Whether only white space follows.
    pub(crate) fn end(&mut self) -> Option<()> {
        self.skip_space();
        self.rest.is_empty().then_some(())
    }

    /// The next value in compact form.
    pub(crate) fn value(&mut self) -> Option<Cow<'t, str>> {
        self.skip_space();
        let start = self.at();
        self.kept = start;
        self.any(0)?;
        let tail = self.text.get(self.kept..self.at())?;
        if self.kept == start {
            return Some(Cow::Borrowed(tail));
        }
        let mut text = std::mem::take(&mut self.written);
        text.push_str(tail);
        Some(Cow::Owned(text))
    }

    /// The next value, a string without escapes.
    pub(crate) fn string(&mut self) -> Option<&'t str> {
        self.skip_space();
        self.expect(b'"')?;
        let start = self.at();
        let (plain, rest) = self.rest.split_at_checked(special(self.rest)?)?;
        self.rest = rest;
        self.expect(b'"')?;
        self.text.get(start..start.wrapping_add(plain.len()))
    }

    /// The next value, a string.
    pub(crate) fn text(&mut self) -> Option<Cow<'t, str>> {
        let before = self.rest;
        if let Some(plain) = self.string() {
            return Some(Cow::Borrowed(plain));
        }
        self.rest = before;
        serde_json::from_str(self.raw()?).ok().map(Cow::Owned)
    }

    /// The next value as it is written. It is not checked; the caller has to parse it.
    pub(crate) fn raw(&mut self) -> Option<&'t str> {
        self.skip_space();
        let (start, mut depth, mut end) = (self.at(), 0_u32, None);
        while let [byte, rest @ ..] = self.rest {
            match byte {
                b',' | b']' | b'}' | b' ' | b'\n' | b'\t' | b'\r' if depth == 0 => break,
                b'{' | b'[' => depth = depth.checked_add(1)?,
                b'}' | b']' => depth = depth.wrapping_sub(1),
                _ => {}
            }
            self.rest = rest;
            if *byte == b'"' {
                self.skip_string()?;
            }
            end = Some(self.at());
        }
        self.text.get(start..end?)
    }

    fn skip_string(&mut self) -> Option<()> {
        loop {
            let (_, rest) = self.rest.split_at_checked(special(self.rest)?)?;
            match rest {
                [b'\\', _, rest @ ..] => self.rest = rest,
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// Skips exactly these bytes, if they come next.
    pub(crate) fn literal(&mut self, bytes: &[u8]) -> bool {
        self.rest.strip_prefix(bytes).map(|rest| self.rest = rest).is_some()
    }

    /// The string between `before` and `after`, if the text continues like that; otherwise nothing is read.
    pub(crate) fn between(&mut self, before: &[u8], after: &[u8]) -> Option<&'t str> {
        let rest = self.rest.strip_prefix(before)?;
        let start = self.text.len().wrapping_sub(rest.len());
        let (plain, rest) = rest.split_at_checked(special(rest)?)?;
        self.rest = rest.strip_prefix(after)?;
        self.text.get(start..start.wrapping_add(plain.len()))
    }

    /// The next value, an object: `member` is called with each name and reads its value.
    pub(crate) fn members(&mut self, mut member: impl FnMut(&mut Self, &'t str) -> Option<()>) -> Option<()> {
        self.skip_space();
        self.expect(b'{')?;
        self.skip_space();
        if self.skip(b'}') {
            return Some(());
        }
        loop {
            let name = self.string()?;
            self.skip_space();
            self.expect(b':')?;
            member(self, name)?;
            self.skip_space();
            if !self.skip(b',') {
                return self.expect(b'}');
            }
        }
    }

    /// The next value, an array: `item` reads each entry.
    pub(crate) fn items(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.skip_space();
        self.expect(b'[')?;
        self.skip_space();
        if self.skip(b']') {
            return Some(());
        }
        loop {
            item(self)?;
            self.skip_space();
            if !self.skip(b',') {
                return self.expect(b']');
            }
        }
    }

    #[inline(always)]
    const fn at(&self) -> usize {
        self.text.len().wrapping_sub(self.rest.len())
    }

    #[inline(always)]
    fn skip(&mut self, byte: u8) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.skip(byte).then_some(())
    }

    #[inline(always)]
    fn skip_space(&mut self) {
        // Why the first test: usually there is no white space, and one comparison is enough.
        while let [..=b' ', ..] = self.rest {
            let [b' ' | b'\n' | b'\t' | b'\r', rest @ ..] = self.rest else { return };
            self.rest = rest;
        }
    }

    /// Skips white space inside a value, which is not copied.
    #[inline(always)]
    fn drop_space(&mut self) -> Option<()> {
        if let [..=b' ', ..] = self.rest {
            let end = self.at();
            self.skip_space();
            self.write_until(end)?;
        }
        Some(())
    }

    /// Copies the unchanged part up to here, and starts the next one.
    #[cold]
    fn write_until(&mut self, end: usize) -> Option<()> {
        self.written.push_str(self.text.get(self.kept..end)?);
        self.kept = self.at();
        Some(())
    }

    fn any(&mut self, depth: u32) -> Option<()> {
        match self.rest {
            [b'"', rest @ ..] => {
                self.rest = rest;
                self.string_body()
            }
            [b'{', rest @ ..] if depth < DEPTH_MAX => {
                self.rest = rest;
                self.object(depth.wrapping_add(1))
            }
            [b'[', rest @ ..] if depth < DEPTH_MAX => {
                self.rest = rest;
                self.array(depth.wrapping_add(1))
            }
            [b'-' | b'0'..=b'9', ..] => self.number(),
            [b't', b'r', b'u', b'e', rest @ ..]
            | [b'n', b'u', b'l', b'l', rest @ ..]
            | [b'f', b'a', b'l', b's', b'e', rest @ ..] => {
                self.rest = rest;
                Some(())
            }
            _ => None,
        }
    }

    fn object(&mut self, depth: u32) -> Option<()> {
        self.drop_space()?;
        if self.skip(b'}') {
            return Some(());
        }
        self.names.reserve(NAMES);
        let outer = self.names.len();
        let mut marks = 0_u64;
        loop {
            self.expect(b'"')?;
            let (name, rest) = self.rest.split_at_checked(special(self.rest)?)?;
            self.rest = rest;
            self.expect(b'"')?;
            self.add_name(name, outer, &mut marks)?;
            self.drop_space()?;
            self.expect(b':')?;
            self.drop_space()?;
            // Why here too: most values are strings, and a call costs more than reading a short one.
            if self.skip(b'"') {
                self.string_body()?;
            } else {
                self.any(depth)?;
            }
            self.drop_space()?;
            if !self.skip(b',') {
                self.names.truncate(outer);
                return self.expect(b'}');
            }
            self.drop_space()?;
        }
    }

    /// Refuses a duplicate name, since the last of both values would count, and a name that
    /// `serde_json` treats specially.
    fn add_name(&mut self, name: &'t [u8], outer: usize, marks: &mut u64) -> Option<()> {
        // Why a limit: each name is compared with those before it, so the cost is quadratic.
        if self.names.len() - outer >= NAMES_MAX || is_same(name, EMBEDDED) {
            return None;
        }
        let mark = 1_u64 << (mark_of(name) & 63);
        if *marks & mark != 0 && self.names.get(outer..)?.iter().any(|other| is_same(other, name)) {
            return None;
        }
        *marks |= mark;
        self.names.push(name);
        Some(())
    }

    fn array(&mut self, depth: u32) -> Option<()> {
        self.drop_space()?;
        if self.skip(b']') {
            return Some(());
        }
        loop {
            self.any(depth)?;
            self.drop_space()?;
            if !self.skip(b',') {
                return self.expect(b']');
            }
            self.drop_space()?;
        }
    }

    /// A string after its first quote. Escapes that `serde_json` writes the same way stay; `\/` loses its
    /// backslash; others are left to `serde_json`.
    fn string_body(&mut self) -> Option<()> {
        loop {
            let (_, rest) = self.rest.split_at_checked(special(self.rest)?)?;
            match rest {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return Some(());
                }
                [b'\\', b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..] => self.rest = rest,
                [b'\\', rest @ ..] if rest.first() == Some(&b'/') => {
                    self.rest = rest;
                    self.write_until(self.at().wrapping_sub(1))?;
                    // The slash itself is copied; it is not a special character.
                }
                _ => return None,
            }
        }
    }

    /// A number that is written back as it was read: an integer, or a float without exponent whose digits are
    /// all needed.
    fn number(&mut self) -> Option<()> {
        let (negative, rest) = match self.rest {
            [b'-', rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let (whole, rest) = digits(rest);
        if whole.is_empty() || (whole.len() > 1 && whole.first() == Some(&b'0')) {
            return None;
        }
        let [b'.', rest @ ..] = rest else {
            let is_float = matches!(rest, [b'e' | b'E', ..]) || (negative && whole == b"0");
            self.rest = rest;
            return (!is_float && whole.len() <= DIGITS_MAX).then_some(());
        };
        let (fraction, rest) = digits(rest);
        let exact = match fraction {
            [b'0'] => true,
            [.., b'0'] | [] | [b'0', b'0', b'0', b'0', ..] => false,
            _ => true,
        };
        let short = whole.len().wrapping_add(fraction.len()) <= DIGITS_MAX;
        self.rest = rest;
        (exact && short && !matches!(rest, [b'e' | b'E', ..])).then_some(())
    }
}

/// A hash of a name; few names of one object share it.
fn mark_of(name: &[u8]) -> usize {
    let byte = |at: usize| name.get(at).map_or(0, |byte| usize::from(*byte));
    let last = name.last().map_or(0, |byte| usize::from(*byte));
    name.len().wrapping_mul(7) ^ byte(0) ^ byte(name.len() / 2).wrapping_mul(5) ^ last.wrapping_mul(3)
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let mut rest = text;
    while let [b'0'..=b'9', tail @ ..] = rest {
        rest = tail;
    }
    text.split_at_checked(text.len().wrapping_sub(rest.len())).unwrap_or((text, &[]))
}

/// Whether two names are equal. Why not `==`: in a guest it is a call that compares byte by byte.
#[inline(always)]
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    if one.len() > 16 {
        return one == other;
    }
    if one.len() >= 8 {
        return one.first_chunk::<8>() == other.first_chunk() && one.last_chunk::<8>() == other.last_chunk();
    }
    if one.len() >= 4 {
        return one.first_chunk::<4>() == other.first_chunk() && one.last_chunk::<4>() == other.last_chunk();
    }
    one.iter().zip(other).all(|(one, other)| one == other)
}

/// Whether a text can be put between quotes unchanged as a JSON string.
#[inline]
pub(super) fn is_plain(text: &str) -> bool {
    special(text.as_bytes()).is_none()
}

/// Position of the first quote, backslash or control character.
#[inline(always)]
fn special(bytes: &[u8]) -> Option<usize> {
    let zero = |word: u64| word.wrapping_sub(LOWEST) & !word;
    let mut rest = bytes;
    while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        // The lowest mark is correct: a borrow can only set wrong ones above a correct one.
        let quotes = zero(word ^ (LOWEST * b'"' as u64));
        let backslashes = zero(word ^ (LOWEST * b'\\' as u64));
        let controls = word.wrapping_sub(LOWEST * b' ' as u64) & !word;
        let found = (quotes | backslashes | controls) & HIGHEST;
        if found != 0 {
            let before = bytes.len().wrapping_sub(rest.len());
            return Some(before.wrapping_add((found.trailing_zeros() >> 3) as usize));
        }
        rest = tail;
    }
    let before = bytes.len().wrapping_sub(rest.len());
    let at = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))?;
    Some(before.wrapping_add(at))
}
