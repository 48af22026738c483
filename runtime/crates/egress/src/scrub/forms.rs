//! The texts that are searched for: a value as it is, in other cases, and in the codings of whole bytes.
//! Escapes of single characters are not here: the search reads them (`readings.rs`). One place writes each
//! form, whole for the search or only its start for the prefilter, so every form that is searched for has a
//! start in the prefilter.

use zeroize::Zeroizing;

use super::SECRET_BYTES_MIN;

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";
/// RFC 4648 section 4.
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// RFC 4648 section 5.
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The most bytes of a form for one byte of its secret: two digits and a separator, or a letter that becomes
/// three in upper case.
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
    /// Letters of ISO 8859-1 as one byte each. Empty for an ASCII value, whose form would be [`Form::Plain`].
    Latin1,
    /// Pairs of digits with this text between them.
    Hex(Digits, &'static [u8]),
    /// The middle of a base64 text that has this many bytes before the secret, modulo three.
    Base64(u32, &'static [u8; 64]),
    Utf16Little,
    Utf16Big,
}

const FORMS: [Form; 20] = [
    Form::Plain,
    Form::LowerCase,
    Form::UpperCase,
    Form::Latin1,
    Form::Hex(LOWER, b""),
    Form::Hex(UPPER, b""),
    Form::Hex(LOWER, b":"),
    Form::Hex(UPPER, b":"),
    Form::Hex(LOWER, b" "),
    Form::Hex(UPPER, b" "),
    Form::Hex(LOWER, b"-"),
    Form::Hex(UPPER, b"-"),
    Form::Base64(0, STANDARD),
    Form::Base64(0, URL_SAFE),
    Form::Base64(1, STANDARD),
    Form::Base64(1, URL_SAFE),
    Form::Base64(2, STANDARD),
    Form::Base64(2, URL_SAFE),
    Form::Utf16Little,
    Form::Utf16Big,
];

/// A form, whole.
pub(super) struct Needle {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// Whether line breaks may stand anywhere inside: coded bytes are written in lines.
    pub(super) in_lines: bool,
}

/// Every form of a secret, whole.
pub(super) fn wholes(secret: &str) -> impl Iterator<Item = Needle> {
    FORMS.iter().map(move |form| {
        // Why all at once: growing would leave a copy of the secret in freed memory.
        let room = secret.len().saturating_mul(GROWTH);
        let mut whole = Whole(Zeroizing::new(Vec::with_capacity(room)));
        form.write(secret, &mut whole);
        Needle { bytes: whole.0, in_lines: matches!(form, Form::Hex(..) | Form::Base64(..)) }
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
            Self::Latin1 if secret.is_ascii() => {}
            Self::Latin1 => chars(secret, out, |ch, out| match u8::try_from(ch) {
                Ok(byte) => out.push(byte),
                Err(_) => text(ch, out),
            }),
            Self::Hex(digits, between) => {
                for (index, byte) in secret.bytes().enumerate() {
                    if out.is_full() {
                        break;
                    }
                    if index > 0 {
                        out.put(between);
                    }
                    pair(byte, digits, out);
                }
            }
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

fn pair(byte: u8, digits: Digits, out: &mut impl Sink) {
    for value in [byte >> 4, byte & 15] {
        // Why never absent: four bits.
        out.push(digits.get(usize::from(value)).copied().unwrap_or(b'0'));
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
