//! What a piece of text may stand for: the byte that is there, or the character that an escape of some
//! language gives. Several languages disagree (`\53` is a plus sign in C and an S in CSS), so a piece has
//! several readings, and the search follows each that leads on. An escape may itself be written in escapes.

pub(super) mod entity_names;

/// How often a text may have been escaped: a JSON text inside a JSON text inside a form.
const LEVELS_MAX: usize = 3;

/// The most readings of one piece; more would only be escapes of escapes of a backslash.
const READINGS_MAX: usize = 12;

/// The most zero bytes between two characters.
const ZEROS_MAX: usize = 3;

/// The most digits of a number in an escape: `&#0000043;`.
const DIGITS_MAX: usize = 8;

/// One reading of the piece that begins at some position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reading {
    bytes: [u8; 4],
    length: u8,
    /// Whether it is a quotation mark that stands for itself by being written more than once. At an end of a value
    /// the other one may be the mark around the value.
    pub(super) quotes: bool,
    /// The position after the piece.
    pub(super) end: usize,
}

impl Reading {
    fn of(bytes: &[u8], end: usize) -> Self {
        let mut reading = Self { end, ..Self::default() };
        for (own, byte) in reading.bytes.iter_mut().zip(bytes) {
            *own = *byte;
            reading.length += 1;
        }
        reading
    }

    /// The bytes that the piece stands for. None at all for a piece that is not part of the text.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The one byte of an escape, which may be a character of another.
    fn single(&self) -> Option<u8> {
        match self.bytes() {
            [byte] if !self.quotes => Some(*byte),
            _ => None,
        }
    }
}

/// The readings of one piece.
#[derive(Clone, Default)]
pub(super) struct Readings {
    all: [Reading; READINGS_MAX],
    count: usize,
}

impl Readings {
    pub(super) fn as_slice(&self) -> &[Reading] {
        self.all.get(..self.count).unwrap_or_default()
    }

    fn push(&mut self, reading: Reading) {
        if self.as_slice().contains(&reading) {
            return;
        }
        if let Some(place) = self.all.get_mut(self.count) {
            *place = reading;
            self.count += 1;
        }
    }

    fn bytes(&mut self, bytes: &[u8], end: usize) {
        self.push(Reading::of(bytes, end));
    }

    fn character(&mut self, code: u32, end: usize) {
        if let Some(ch) = char::from_u32(code) {
            self.bytes(ch.encode_utf8(&mut [0; 4]).as_bytes(), end);
        }
    }

    /// A number up to 255: a byte, or the character with that code.
    fn byte(&mut self, number: u32, end: usize) {
        if let Ok(byte) = u8::try_from(number) {
            self.bytes(&[byte], end);
        }
        if (0x80..=0xff).contains(&number) {
            self.character(number, end);
        }
    }
}

/// Whether a byte can be the first of a piece that stands for something else.
pub(super) const fn begins_escape(byte: u8) -> bool {
    matches!(byte, b'\\' | b'%' | b'&' | b'=' | b'+' | b'\'' | b'"' | b']' | 0)
}

/// Every reading of the piece at `at`, other than the byte that is there.
pub(super) fn escapes(text: &[u8], at: usize) -> Readings {
    to_level(text, at, LEVELS_MAX)
}

fn to_level(text: &[u8], at: usize, levels: usize) -> Readings {
    let mut all = Readings::default();
    let Some(first) = text.get(at) else { return all };
    escape(text, *first, at + 1, levels - 1, &mut all);
    let mut read = 0;
    for _ in 1..levels {
        let (from, to) = (read, all.count);
        // Why only those: an escape that gives no beginning of an escape is read to its end.
        for index in from..to {
            let Some(reading) = all.all.get(index).copied() else { break };
            if let Some(byte) = reading.single().filter(|byte| begins_escape(*byte)) {
                escape(text, byte, reading.end, levels - 1, &mut all);
            }
        }
        read = to;
        if read == all.count {
            break;
        }
    }
    all
}

/// The readings of an escape whose first character is read and ends at `next`. Its other characters may be
/// escaped up to `level` times.
fn escape(text: &[u8], first: u8, next: usize, level: usize, out: &mut Readings) {
    let mut written = |more: &[u8], meant: &[u8]| {
        if let Some(end) = spelled(text, next, level, more) {
            out.push(Reading { quotes: matches!(first, b'\'' | b'"'), ..Reading::of(meant, end) });
        }
    };
    match first {
        b'%' => percent(text, next, level, out),
        b'\\' => backslash(text, next, level, out),
        b'&' => entity(text, next, level, out),
        b'=' => quoted_printable(text, next, level, out),
        b'+' => written(b"", b" "),
        // An apostrophe inside apostrophes: doubled (SQL, YAML), or as a shell needs it.
        b'\'' => {
            written(b"\\''", b"'");
            written(b"\"'\"'", b"'");
            written(b"'", b"'");
        }
        b'"' => written(b"\"", b"\""),
        // The end of one CDATA section and the beginning of another are no text.
        b']' => written(b"]><![CDATA[", b""),
        0 => zeros(text, next, out),
        _ => {}
    }
}

/// UTF-16 and UTF-32 write one or three of them beside each ASCII character. More of them are no text: a file may have
/// millions in a row.
fn zeros(text: &[u8], next: usize, out: &mut Readings) {
    let more =
        text.get(next..).unwrap_or_default().iter().take(ZEROS_MAX).take_while(|byte| **byte == 0).count();
    if more < ZEROS_MAX {
        out.bytes(b"", next + more);
    }
}

/// The end of these characters, each of which may be escaped up to `level` times.
fn spelled(text: &[u8], at: usize, level: usize, word: &[u8]) -> Option<usize> {
    let Some((first, rest)) = word.split_first() else { return Some(at) };
    let byte = *text.get(at)?;
    if byte == *first
        && let Some(end) = spelled(text, at + 1, level, rest)
    {
        return Some(end);
    }
    if level == 0 || !begins_escape(byte) {
        return None;
    }
    let inner = to_level(text, at, level);
    let same = inner.as_slice().iter().filter(|reading| reading.single() == Some(*first));
    same.map(|reading| reading.end).find_map(|end| spelled(text, end, level, rest))
}

/// RFC 3986 section 2.1, and the `%uXXXX` of JavaScript's `escape`.
fn percent(text: &[u8], at: usize, level: usize, out: &mut Readings) {
    if let Some((number, end)) = number(text, at, level, 16, 2, 2) {
        out.byte(number, end);
    }
    if let Some((_, at)) = symbol(text, at, level, |byte| matches!(byte, b'u' | b'U')) {
        unit(text, at, level, b'%', out);
    }
}

/// The escapes of JSON, JavaScript, C, Go, Java and its properties, Python, YAML, CSS, LDAP and shells.
fn backslash(text: &[u8], at: usize, level: usize, out: &mut Readings) {
    let Some(byte) = text.get(at) else { return };
    backslash_and(text, *byte, at, at + 1, level, out);
    if level == 0 || !begins_escape(*byte) {
        return;
    }
    for inner in to_level(text, at, level).as_slice() {
        match inner.single() {
            Some(byte) => backslash_and(text, byte, at, inner.end, level, out),
            None if inner.quotes => {}
            None => out.bytes(inner.bytes(), inner.end),
        }
    }
}

/// A backslash before this character, which is from `at` to `next`.
fn backslash_and(text: &[u8], byte: u8, at: usize, next: usize, level: usize, out: &mut Readings) {
    if let Some(named) = named(byte) {
        out.bytes(&[named], next);
    }
    match byte {
        b'u' => {
            unit(text, next, level, b'\\', out);
            braced(text, next, level, out);
        }
        b'U' => {
            if let Some((code, end)) = number(text, next, level, 16, 8, 8) {
                out.character(code, end);
            }
        }
        b'x' | b'X' => {
            if let Some((number, end)) = number(text, next, level, 16, 2, 2) {
                out.byte(number, end);
            }
            braced(text, next, level, out);
        }
        // A line that goes on in the next one.
        b'\n' => out.bytes(b"", next),
        b'\r' if text.get(next) == Some(&b'\n') => out.bytes(b"", next + 1),
        _ => {}
    }
    if matches!(byte, b'0'..=b'7') {
        for digits in 1..=3 {
            if let Some((number, end)) = number(text, at, level, 8, digits, digits) {
                out.byte(number, end);
            }
        }
    }
    if byte.is_ascii_hexdigit() {
        if let Some((number, end)) = number(text, at, level, 16, 2, 2) {
            out.byte(number, end);
        }
        if let Some((code, end)) = number(text, at, level, 16, 1, 6) {
            out.character(code, end);
            // CSS: one white space ends the number.
            if text.get(end).is_some_and(u8::is_ascii_whitespace) {
                out.character(code, end + 1);
            }
        }
    }
    out.bytes(&[byte], next);
}

/// The control character that a backslash and this letter stand for.
pub(super) const fn named(letter: u8) -> Option<u8> {
    match letter {
        b'n' => Some(b'\n'),
        b't' => Some(b'\t'),
        b'r' => Some(b'\r'),
        b'b' => Some(8),
        b'f' => Some(12),
        b'a' => Some(7),
        b'v' => Some(11),
        b'e' => Some(27),
        b's' => Some(b' '),
        _ => None,
    }
}

/// Four digits after `\u` or `%u`; beyond U+FFFF two of them (RFC 8259 section 7).
fn unit(text: &[u8], at: usize, level: usize, introducer: u8, out: &mut Readings) {
    let Some((high, end)) = number(text, at, level, 16, 4, 4) else { return };
    if !(0xd800..0xdc00).contains(&high) {
        out.character(high, end);
        return;
    }
    let low = |at: usize| {
        let (_, at) = symbol(text, at, level, |byte| byte == b'u')?;
        number(text, at, level, 16, 4, 4).filter(|(low, _)| (0xdc00..0xe000).contains(low))
    };
    let written = text.get(end) == Some(&introducer);
    let low = written.then(|| low(end + 1)).flatten().or_else(|| {
        let inner = if level == 0 { Readings::default() } else { to_level(text, end, level) };
        let ends = inner.as_slice().iter().filter(|reading| reading.single() == Some(introducer));
        ends.map(|reading| reading.end).find_map(low)
    });
    if let Some((low, end)) = low {
        out.character(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00), end);
    }
}

/// A number in braces, as JavaScript, Rust, PHP and Perl write it.
fn braced(text: &[u8], at: usize, level: usize, out: &mut Readings) {
    let code = symbol(text, at, level, |byte| byte == b'{')
        .and_then(|(_, at)| number(text, at, level, 16, 1, DIGITS_MAX))
        .and_then(|(code, at)| Some((code, symbol(text, at, level, |byte| byte == b'}')?.1)));
    if let Some((code, end)) = code {
        out.byte(code, end);
        out.character(code, end);
    }
}

/// Numeric and named character references of HTML and XML.
fn entity(text: &[u8], at: usize, level: usize, out: &mut Readings) {
    if let Some((_, at)) = symbol(text, at, level, |byte| byte == b'#') {
        let hexadecimal = symbol(text, at, level, |byte| matches!(byte, b'x' | b'X'));
        let found = match hexadecimal {
            Some((_, at)) => number(text, at, level, 16, 1, DIGITS_MAX),
            None => number(text, at, level, 10, 1, DIGITS_MAX),
        };
        if let Some((code, end)) = found {
            let end = symbol(text, end, level, |byte| byte == b';').map_or(end, |(_, end)| end);
            out.character(code, end);
        }
        return;
    }
    let mut name = [0; 8];
    let mut at = at;
    for place in &mut name {
        let Some((byte, next)) = symbol(text, at, level, |byte| byte.is_ascii_alphanumeric()) else { break };
        (*place, at) = (byte, next);
    }
    let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let known = entity_names::character(name.get(..length).unwrap_or_default());
    if let (Some(code), Some((_, end))) = (known, symbol(text, at, level, |byte| byte == b';')) {
        out.character(code, end);
    }
}

/// RFC 2045 section 6.7: two digits, or a line break that is not part of the text.
fn quoted_printable(text: &[u8], at: usize, level: usize, out: &mut Readings) {
    if let Some((number, end)) = number(text, at, level, 16, 2, 2) {
        out.byte(number, end);
    }
    if let Some((byte, end)) = symbol(text, at, level, |byte| matches!(byte, b'\r' | b'\n')) {
        let feed = symbol(text, end, level, |feed| byte == b'\r' && feed == b'\n');
        out.bytes(b"", feed.map_or(end, |(_, end)| end));
    }
}

/// One character of an escape, which may be escaped itself up to `level` times.
fn symbol(text: &[u8], at: usize, level: usize, fits: impl Fn(u8) -> bool) -> Option<(u8, usize)> {
    let byte = *text.get(at)?;
    if fits(byte) {
        return Some((byte, at + 1));
    }
    if level == 0 || !begins_escape(byte) {
        return None;
    }
    let inner = to_level(text, at, level);
    inner.as_slice().iter().find_map(|reading| Some((reading.single().filter(|b| fits(*b))?, reading.end)))
}

/// As many digits as there are, at least `least` and at most `most`.
fn number(
    text: &[u8],
    at: usize,
    level: usize,
    radix: u32,
    least: usize,
    most: usize,
) -> Option<(u32, usize)> {
    let (mut value, mut at, mut count) = (0_u32, at, 0);
    while count < most {
        let digit = symbol(text, at, level, |byte| char::from(byte).is_digit(radix));
        let Some((byte, next)) = digit else { break };
        value = value.checked_mul(radix)?.checked_add(char::from(byte).to_digit(radix)?)?;
        (at, count) = (next, count + 1);
    }
    (count >= least).then_some((value, at))
}
