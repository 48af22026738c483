//! The forms as common libraries write them: those that must be found, and those that [`super::forms`] writes
//! itself.

use std::fmt::{self, Write as _};

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// The forms in which services echo a value.
pub(super) fn forms_of(secret: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let mut texts: Vec<String> = vec![
        secret.to_owned(),
        secret.to_lowercase(),
        secret.to_uppercase(),
        percent(secret, false),
        percent(secret, true),
        percent(secret, false).replace("%20", "+"),
        json_inner(secret),
        json_inner(secret).replace('/', "\\/"),
        each(secret.encode_utf16(), |unit, out| write!(out, "\\u{unit:04x}")),
        each(secret.encode_utf16(), |unit, out| write!(out, "\\u{unit:04X}")),
        json_ascii(secret, false),
        json_ascii(secret, false).replace('/', "\\/"),
        json_ascii(secret, true),
        html(secret),
        each(secret.chars(), |c, out| write!(out, "&#{};", c as u32)),
        each(secret.chars(), |c, out| write!(out, "&#x{:x};", c as u32)),
        each(secret.chars(), |c, out| write!(out, "&#x{:X};", c as u32)),
        each(secret.bytes(), |b, out| write!(out, "%{b:02x}")),
        each(secret.bytes(), |b, out| write!(out, "%{b:02X}")),
        each(secret.bytes(), |b, out| write!(out, "{b:02x}")),
        each(secret.bytes(), |b, out| write!(out, "{b:02X}")),
    ];
    for shift in 0..3_usize {
        texts.push(base64_middle(secret, shift, &STANDARD_NO_PAD));
        texts.push(base64_middle(secret, shift, &URL_SAFE_NO_PAD));
    }
    let mut forms: Vec<Zeroizing<Vec<u8>>> =
        texts.into_iter().map(|t| Zeroizing::new(t.into_bytes())).collect();
    forms.push(Zeroizing::new(secret.encode_utf16().flat_map(u16::to_le_bytes).collect()));
    forms.push(Zeroizing::new(secret.encode_utf16().flat_map(u16::to_be_bytes).collect()));
    forms
}

/// The codings of whole bytes, in the order of [`super::forms`].
pub(super) fn codings_of(secret: &str) -> Vec<Vec<u8>> {
    let mut forms: Vec<Vec<u8>> = [secret.to_owned(), secret.to_lowercase(), secret.to_uppercase()]
        .into_iter()
        .map(String::into_bytes)
        .collect();
    forms.push(latin(secret));
    for between in ["", ":", " ", "-"] {
        for upper in [false, true] {
            let pair = |b: u8| if upper { format!("{b:02X}") } else { format!("{b:02x}") };
            forms.push(secret.bytes().map(pair).collect::<Vec<_>>().join(between).into_bytes());
        }
    }
    for shift in 0..3_usize {
        forms.push(base64_middle(secret, shift, &STANDARD_NO_PAD).into_bytes());
        forms.push(base64_middle(secret, shift, &URL_SAFE_NO_PAD).into_bytes());
    }
    forms.push(secret.encode_utf16().flat_map(u16::to_le_bytes).collect());
    forms.push(secret.encode_utf16().flat_map(u16::to_be_bytes).collect());
    forms
}

/// ISO 8859-1 where there is a letter for it; empty for ASCII.
fn latin(secret: &str) -> Vec<u8> {
    let byte = |ch: char| match u8::try_from(u32::from(ch)) {
        Ok(byte) => vec![byte],
        Err(_) => ch.to_string().into_bytes(),
    };
    if secret.is_ascii() { Vec::new() } else { secret.chars().flat_map(byte).collect() }
}

fn percent(secret: &str, lower: bool) -> String {
    let mut out = String::new();
    portcullis_core::percent_encode(secret, &mut out);
    if lower { lower_escapes(&out) } else { out }
}

/// `%2F` to `%2f`, leaving everything else.
fn lower_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_escape = 0_u8;
    for ch in text.chars() {
        if ch == '%' {
            in_escape = 2;
            out.push(ch);
        } else if in_escape > 0 {
            in_escape -= 1;
            out.push(ch.to_ascii_lowercase());
        } else {
            out.push(ch);
        }
    }
    out
}

fn json_inner(secret: &str) -> String {
    let quoted = serde_json::Value::String(secret.to_owned()).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

/// As Python's `json.dumps` writes it; empty where it equals [`json_inner`].
fn json_ascii(secret: &str, upper: bool) -> String {
    if secret.is_ascii() {
        return String::new();
    }
    each(json_inner(secret).chars(), |c, out| match c {
        _ if c.is_ascii() => write!(out, "{c}"),
        _ if upper => c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(out, "\\u{unit:04X}")),
        _ => c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}")),
    })
}

fn html(secret: &str) -> String {
    secret
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

fn each<T>(items: impl Iterator<Item = T>, write: impl Fn(T, &mut String) -> fmt::Result) -> String {
    let mut out = String::new();
    for item in items {
        // Why ignored: writing to a `String` does not fail.
        let _ = write(item, &mut out);
    }
    out
}

/// The characters of a base64 text that depend on the secret alone, when it begins `shift` bytes into a group
/// of three: the bytes before and after it cannot change them.
fn base64_middle(secret: &str, shift: usize, engine: &impl base64::Engine) -> String {
    let mut padded = vec![0_u8; shift];
    padded.extend_from_slice(secret.as_bytes());
    let encoded = engine.encode(&padded);
    let start = (shift * 8).div_ceil(6);
    let end = padded.len() * 8 / 6;
    encoded.get(start..end).unwrap_or_default().to_owned()
}
