//! Removing an echoed credential from an answer: extra defence, not the boundary.
//!
//! Every secret text is looked for as it is and in the forms that services echo it in. A form that
//! nobody enumerated (reversed, encrypted, cut in pieces by the upstream) passes; that is stated in
//! the documentation.

use std::cell::OnceCell;
use std::fmt::{self, Write as _};

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;
use zeroize::Zeroizing;

use self::starts::Starts;

mod starts;

/// What stands where a secret stood.
const MARK: &[u8] = b"[redacted]";
/// Rounds of replacing before the text is withheld whole. One is enough unless a secret looks like
/// the mark.
const ROUNDS_MAX: usize = 4;
/// Shorter texts would hit innocent bytes everywhere and protect nothing.
const SECRET_BYTES_MIN: usize = 4;

/// The byte forms of one call's secrets.
pub struct Scrubber {
    secrets: Vec<Zeroizing<String>>,
    starts: Starts,
    /// Made when one of the starts was seen: longest first.
    forms: OnceCell<Vec<Zeroizing<Vec<u8>>>>,
}

impl Scrubber {
    /// Prepares the forms of these secrets.
    #[must_use]
    pub fn new<'s>(secrets: impl Iterator<Item = &'s str>) -> Self {
        let secrets = secrets.filter(|s| s.len() >= SECRET_BYTES_MIN);
        let secrets: Vec<_> = secrets.map(|s| Zeroizing::new(s.to_owned())).collect();
        let starts = Starts::of(secrets.iter().map(|s| s.as_str()));
        Self { secrets, starts, forms: OnceCell::new() }
    }

    fn forms(&self) -> &[Zeroizing<Vec<u8>>] {
        self.forms.get_or_init(|| {
            let mut forms: Vec<Zeroizing<Vec<u8>>> = Vec::new();
            for form in self.secrets.iter().flat_map(|secret| forms_of(secret)) {
                if form.len() >= SECRET_BYTES_MIN && !forms.contains(&form) {
                    forms.push(form);
                }
            }
            forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
            forms
        })
    }

    /// Replaces every form in `text`; says whether there was one. Afterwards none is left: where the
    /// mark and its surroundings go on spelling a secret, the whole text is withheld.
    pub fn scrub(&self, text: &mut Vec<u8>) -> bool {
        for round in 0..ROUNDS_MAX {
            if !self.pass(text) {
                return round > 0;
            }
        }
        text.clear();
        true
    }

    fn pass(&self, text: &mut Vec<u8>) -> bool {
        let mut found = false;
        if self.starts.may_be_in(text) {
            for form in self.forms() {
                if memmem::find(text, form).is_some() {
                    found = true;
                    *text = replace(text, form);
                }
            }
        }
        found
    }

    /// Whether `text` holds a form.
    #[must_use]
    pub fn is_in(&self, text: &[u8]) -> bool {
        self.starts.may_be_in(text) && self.forms().iter().any(|form| memmem::find(text, form).is_some())
    }
}

fn replace(text: &[u8], form: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    for at in memmem::find_iter(text, form) {
        out.extend_from_slice(text.get(from..at).unwrap_or_default());
        out.extend_from_slice(MARK);
        from = at + form.len();
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default());
    out
}

/// The forms that services echo a value in.
fn forms_of(secret: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let mut texts: Vec<String> = vec![
        secret.to_owned(),
        secret.to_lowercase(),
        secret.to_uppercase(),
        percent(secret, false),
        percent(secret, true),
        percent(secret, false).replace("%20", "+"),
        json_inner(secret),
        json_inner(secret).replace('/', "\\/"),
        each(secret.chars(), |c, out| write!(out, "\\u{:04x}", c as u32)),
        each(secret.chars(), |c, out| write!(out, "\\u{:04X}", c as u32)),
        html(secret),
        each(secret.chars(), |c, out| write!(out, "&#{};", c as u32)),
        each(secret.chars(), |c, out| write!(out, "&#x{:x};", c as u32)),
        each(secret.chars(), |c, out| write!(out, "&#x{:X};", c as u32)),
        each(secret.bytes(), |b, out| write!(out, "%{b:02x}")),
        each(secret.bytes(), |b, out| write!(out, "%{b:02X}")),
        hex::encode(secret),
        hex::encode_upper(secret),
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
        // Why ignored: writing to a text does not fail.
        let _ = write(item, &mut out);
    }
    out
}

/// The characters of a base64 text that depend on the secret alone, when it begins `shift` bytes
/// into a group of three: what stands before and after it cannot change them.
fn base64_middle(secret: &str, shift: usize, engine: &impl base64::Engine) -> String {
    let mut padded = vec![0_u8; shift];
    padded.extend_from_slice(secret.as_bytes());
    let encoded = engine.encode(&padded);
    let start = (shift * 8).div_ceil(6);
    let end = padded.len() * 8 / 6;
    encoded.get(start..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
