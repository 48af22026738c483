//! The forms in which services echo a value. One place writes each form, whole for the search or only its
//! start for the prefilter, so every form that is searched for has a start in the prefilter.

use zeroize::Zeroizing;

use super::SECRET_BYTES_MIN;

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";
/// RFC 4648 section 4.
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// RFC 4648 section 5.
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The most bytes of a form for one byte of its secret: `\u0041`, `&quot;`.
const GROWTH: usize = 6;

pub(super) trait Sink {
    fn push(&mut self, byte: u8);

    /// Whether further bytes are ignored.
    fn is_full(&self) -> bool;

    fn put(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.push(*byte);
        }
    }
}

/// A whole form.
struct Whole(Zeroizing<Vec<u8>>);

impl Sink for Whole {
    fn push(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn is_full(&self) -> bool {
        false
    }
}

/// The first bytes of a form, as a number in little-endian order.
#[derive(Default)]
struct Start {
    number: u32,
    bits: u32,
}

/// Bits of a complete [`Start`].
const START_BITS: u32 = 8 * SECRET_BYTES_MIN as u32;

impl Sink for Start {
    fn push(&mut self, byte: u8) {
        if self.bits < START_BITS {
            self.number |= u32::from(byte) << self.bits;
            self.bits += 8;
        }
    }

    fn is_full(&self) -> bool {
        self.bits == START_BITS
    }
}

/// The hexadecimal digits, in lower or upper case.
type Digits = &'static [u8; 16];

#[derive(Clone, Copy)]
enum Form {
    Plain,
    LowerCase,
    UpperCase,
    /// Percent-encoded, with the text for a space.
    Percent(Digits, &'static [u8]),
    /// Inside a JSON string, with the text for a slash.
    Json(&'static [u8]),
    JsonCodes(Digits),
    /// Inside an ASCII JSON string, as Python and PHP write by default, with the text for a slash. Empty for
    /// an ASCII value, whose form would be [`Form::Json`].
    JsonAscii(Digits, &'static [u8]),
    Html,
    HtmlDecimal,
    HtmlHex(Digits),
    PercentAll(Digits),
    Hex(Digits),
    /// The middle of a base64 text that has this many bytes before the secret, modulo three.
    Base64(u32, &'static [u8; 64]),
    Utf16Little,
    Utf16Big,
}

const FORMS: [Form; 29] = [
    Form::Plain,
    Form::LowerCase,
    Form::UpperCase,
    Form::Percent(UPPER, b"%20"),
    Form::Percent(LOWER, b"%20"),
    Form::Percent(UPPER, b"+"),
    Form::Json(b"/"),
    Form::Json(b"\\/"),
    Form::JsonCodes(LOWER),
    Form::JsonCodes(UPPER),
    Form::JsonAscii(LOWER, b"/"),
    Form::JsonAscii(LOWER, b"\\/"),
    Form::JsonAscii(UPPER, b"/"),
    Form::Html,
    Form::HtmlDecimal,
    Form::HtmlHex(LOWER),
    Form::HtmlHex(UPPER),
    Form::PercentAll(LOWER),
    Form::PercentAll(UPPER),
    Form::Hex(LOWER),
    Form::Hex(UPPER),
    Form::Base64(0, STANDARD),
    Form::Base64(0, URL_SAFE),
    Form::Base64(1, STANDARD),
    Form::Base64(1, URL_SAFE),
    Form::Base64(2, STANDARD),
    Form::Base64(2, URL_SAFE),
    Form::Utf16Little,
    Form::Utf16Big,
];

/// Every form of a secret, whole.
pub(super) fn wholes(secret: &str) -> impl Iterator<Item = Zeroizing<Vec<u8>>> {
    FORMS.iter().map(move |form| {
        // Why all at once: growing would leave a copy of the secret in freed memory.
        let room = secret.len().saturating_mul(GROWTH);
        let mut whole = Whole(Zeroizing::new(Vec::with_capacity(room)));
        form.write(secret, &mut whole);
        whole.0
    })
}

/// The first bytes, as a number, of every form that is long enough to be searched for.
pub(super) fn starts(secret: &str) -> impl Iterator<Item = u32> {
    FORMS.iter().filter_map(move |form| {
        let mut start = Start::default();
        form.write(secret, &mut start);
        start.is_full().then_some(start.number)
    })
}

impl Form {
    fn write(self, secret: &str, out: &mut impl Sink) {
        match self {
            Self::Plain => bytes(secret, out, |byte, out| out.push(byte)),
            Self::LowerCase if secret.is_ascii() => {
                bytes(secret, out, |byte, out| out.push(byte.to_ascii_lowercase()));
            }
            // Why the whole text: outside ASCII the case of a letter may depend on its neighbours.
            Self::LowerCase => out.put(Zeroizing::new(secret.to_lowercase()).as_bytes()),
            Self::UpperCase => chars(secret, out, |ch, out| {
                ch.to_uppercase().for_each(|upper| text(upper, out));
            }),
            Self::Percent(digits, space) => bytes(secret, out, |byte, out| match byte {
                b'-' | b'.' | b'_' | b'~' => out.push(byte),
                b' ' => out.put(space),
                _ if byte.is_ascii_alphanumeric() => out.push(byte),
                _ => percent(byte, digits, out),
            }),
            Self::Json(slash) => bytes(secret, out, |byte, out| json(byte, slash, out)),
            Self::JsonCodes(digits) => chars(secret, out, |ch, out| codes(ch, digits, out)),
            Self::JsonAscii(..) if secret.is_ascii() => {}
            Self::JsonAscii(digits, slash) => chars(secret, out, |ch, out| match u8::try_from(ch) {
                Ok(byte) if byte.is_ascii() => json(byte, slash, out),
                _ => codes(ch, digits, out),
            }),
            Self::Html => bytes(secret, out, html),
            Self::HtmlDecimal => chars(secret, out, |ch, out| {
                out.put(b"&#");
                decimal(u32::from(ch), out);
                out.push(b';');
            }),
            Self::HtmlHex(digits) => chars(secret, out, |ch, out| {
                out.put(b"&#x");
                hex(u32::from(ch), 1, digits, out);
                out.push(b';');
            }),
            Self::PercentAll(digits) => bytes(secret, out, |byte, out| percent(byte, digits, out)),
            Self::Hex(digits) => bytes(secret, out, |byte, out| pair(byte, digits, out)),
            Self::Base64(shift, alphabet) => base64_middle(secret, shift, alphabet, out),
            Self::Utf16Little => utf16(secret, out, u16::to_le_bytes),
            Self::Utf16Big => utf16(secret, out, u16::to_be_bytes),
        }
    }
}

fn bytes<S: Sink>(secret: &str, out: &mut S, write: impl Fn(u8, &mut S)) {
    for byte in secret.bytes() {
        if out.is_full() {
            break;
        }
        write(byte, out);
    }
}

fn chars<S: Sink>(secret: &str, out: &mut S, write: impl Fn(char, &mut S)) {
    for ch in secret.chars() {
        if out.is_full() {
            break;
        }
        write(ch, out);
    }
}

fn utf16(secret: &str, out: &mut impl Sink, order: impl Fn(u16) -> [u8; 2]) {
    for unit in secret.encode_utf16() {
        if out.is_full() {
            break;
        }
        out.put(&order(unit));
    }
}

fn text(ch: char, out: &mut impl Sink) {
    out.put(ch.encode_utf8(&mut [0; 4]).as_bytes());
}

fn digit(value: u32, digits: Digits, out: &mut impl Sink) {
    // Why never absent: four bits.
    out.push(digits.get((value & 15) as usize).copied().unwrap_or(b'0'));
}

fn pair(byte: u8, digits: Digits, out: &mut impl Sink) {
    digit(u32::from(byte >> 4), digits, out);
    digit(u32::from(byte), digits, out);
}

fn percent(byte: u8, digits: Digits, out: &mut impl Sink) {
    out.push(b'%');
    pair(byte, digits, out);
}

/// Hexadecimal, padded with zeros to `width` digits.
fn hex(value: u32, width: u32, digits: Digits, out: &mut impl Sink) {
    let used = (32 - value.leading_zeros()).div_ceil(4).max(width);
    for place in (0..used).rev() {
        digit(value >> (place * 4), digits, out);
    }
}

fn decimal(value: u32, out: &mut impl Sink) {
    if value >= 10 {
        decimal(value / 10, out);
    }
    digit(value % 10, LOWER, out);
}

/// The UTF-16 units of a character as JSON escapes: two beyond U+FFFF (RFC 8259 section 7).
fn codes(ch: char, digits: Digits, out: &mut impl Sink) {
    for unit in ch.encode_utf16(&mut [0; 2]) {
        out.put(b"\\u");
        hex(u32::from(*unit), 4, digits, out);
    }
}

/// RFC 8259 section 7, as `serde_json` writes it.
fn json(byte: u8, slash: &[u8], out: &mut impl Sink) {
    match byte {
        b'"' => out.put(b"\\\""),
        b'\\' => out.put(b"\\\\"),
        b'/' => out.put(slash),
        0x08 => out.put(b"\\b"),
        0x0c => out.put(b"\\f"),
        b'\n' => out.put(b"\\n"),
        b'\r' => out.put(b"\\r"),
        b'\t' => out.put(b"\\t"),
        0..0x20 => {
            out.put(b"\\u");
            hex(u32::from(byte), 4, LOWER, out);
        }
        _ => out.push(byte),
    }
}

fn html(byte: u8, out: &mut impl Sink) {
    match byte {
        b'&' => out.put(b"&amp;"),
        b'<' => out.put(b"&lt;"),
        b'>' => out.put(b"&gt;"),
        b'"' => out.put(b"&quot;"),
        b'\'' => out.put(b"&#39;"),
        _ => out.push(byte),
    }
}

/// The characters of a base64 text that depend on the secret alone, when it begins `shift` bytes into a group
/// of three: the bytes before and after it cannot change them.
fn base64_middle(secret: &str, shift: u32, alphabet: &[u8; 64], out: &mut impl Sink) {
    // Bits of the secret that share a character with the byte before it.
    let mut foreign = (6 - shift * 8 % 6) % 6;
    let (mut held, mut bits) = (0_u32, 0_u32);
    for byte in secret.bytes() {
        if out.is_full() {
            break;
        }
        held = (held << 8 | u32::from(byte)) & 0xffff;
        bits += 8;
        bits -= std::mem::take(&mut foreign);
        while bits >= 6 {
            bits -= 6;
            let sextet = (held >> bits) & 63;
            out.push(alphabet.get(sextet as usize).copied().unwrap_or(b'A'));
        }
    }
}
