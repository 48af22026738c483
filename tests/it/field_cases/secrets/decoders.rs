//! Whether somebody who tries the usual decoders finds a secret in a text.

use std::collections::HashSet;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// How many decoders are tried one after the other.
const DEPTH: usize = 3;

/// Whether the secret is in the text, or in what decoders make of it.
pub(super) fn reveals(text: &[u8], secret: &str) -> bool {
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    let mut level = vec![text.to_vec()];
    for depth in 0..=DEPTH {
        let mut next = Vec::new();
        for text in level {
            if !seen.insert(text.clone()) {
                continue;
            }
            if has(&text, secret) {
                return true;
            }
            if depth < DEPTH {
                next.extend(decoded(&text));
            }
        }
        level = next;
    }
    false
}

fn has(text: &[u8], secret: &str) -> bool {
    let is_in = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
    let latin: Vec<u8> = secret.chars().filter_map(|ch| u8::try_from(ch).ok()).collect();
    is_in(secret.as_bytes())
        || is_in(secret.to_lowercase().as_bytes())
        || is_in(secret.to_uppercase().as_bytes())
        || (latin.len() == secret.chars().count() && is_in(&latin))
}

fn decoded(text: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![
        escapes(text, b'\\', backslash),
        escapes(text, b'\\', octal),
        escapes(text, b'\\', css),
        escapes(text, b'%', percent),
        escapes(text, b'&', entity),
        escapes(text, b'=', printable),
        text.iter().copied().filter(|byte| *byte != 0).collect(),
        text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect(),
    ];
    for (written, meant) in
        [("'\\''", "'"), ("'\"'\"'", "'"), ("''", "'"), ("\"\"", "\""), ("]]><![CDATA[", "")]
    {
        all.extend(std::str::from_utf8(text).ok().map(|text| text.replace(written, meant).into_bytes()));
    }
    all.extend(runs(text));
    all.extend(hexadecimal(text));
    all.extend(numbers(text));
    all.retain(|decoded| decoded != text && !decoded.is_empty());
    all
}

/// Gets what follows an introducer, and says how long it is and what it means.
type ReadEscape = fn(&[u8]) -> Option<(usize, Vec<u8>)>;

/// Replaces each escape.
fn escapes(text: &[u8], introducer: u8, read: ReadEscape) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match (text[at] == introducer).then(|| read(&text[at + 1..])).flatten() {
            Some((length, meant)) => {
                out.extend(meant);
                at += 1 + length;
            }
            None => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out
}

fn number(text: &[u8], radix: u32) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(text).ok()?, radix).ok()
}

fn utf8(code: u32) -> Option<Vec<u8>> {
    Some(char::from_u32(code)?.to_string().into_bytes())
}

fn backslash(rest: &[u8]) -> Option<(usize, Vec<u8>)> {
    let unit = |at: usize| number(rest.get(at..at + 4)?, 16);
    match rest.first()? {
        b'u' if rest.get(1) == Some(&b'{') => {
            let end = rest.iter().position(|b| *b == b'}')?;
            Some((end + 1, utf8(number(&rest[2..end], 16)?)?))
        }
        b'u' => match unit(1)? {
            high @ 0xd800..0xdc00 if rest.get(5..7) == Some(b"\\u") => {
                Some((11, utf8(0x10000 + ((high - 0xd800) << 10) + (unit(7)? - 0xdc00))?))
            }
            code => Some((5, utf8(code)?)),
        },
        b'U' => Some((9, utf8(number(rest.get(1..9)?, 16)?)?)),
        b'x' => Some((3, vec![number(rest.get(1..3)?, 16)? as u8])),
        b'n' => Some((1, b"\n".to_vec())),
        b'r' => Some((1, b"\r".to_vec())),
        b't' => Some((1, b"\t".to_vec())),
        other => Some((1, vec![*other])),
    }
}

fn octal(rest: &[u8]) -> Option<(usize, Vec<u8>)> {
    Some((3, vec![u8::try_from(number(rest.get(..3)?, 8)?).ok()?]))
}

fn css(rest: &[u8]) -> Option<(usize, Vec<u8>)> {
    let digits = rest.iter().take(6).take_while(|b| b.is_ascii_hexdigit()).count();
    if rest.get(digits) != Some(&b' ') {
        let pair = rest.get(..2).filter(|pair| pair.iter().all(u8::is_ascii_hexdigit))?;
        return Some((2, vec![number(pair, 16)? as u8]));
    }
    Some((digits + 1, utf8(number(rest.get(..digits)?, 16)?)?))
}

fn percent(rest: &[u8]) -> Option<(usize, Vec<u8>)> {
    if rest.first() == Some(&b'u') {
        return Some((5, utf8(number(rest.get(1..5)?, 16)?)?));
    }
    Some((2, vec![u8::try_from(number(rest.get(..2)?, 16)?).ok()?]))
}

fn entity(rest: &[u8]) -> Option<(usize, Vec<u8>)> {
    let end = rest.iter().take(12).position(|b| *b == b';')?;
    let name = std::str::from_utf8(&rest[..end]).ok()?;
    let code = match name {
        "amp" => '&' as u32,
        "lt" => '<' as u32,
        "gt" => '>' as u32,
        "quot" => '"' as u32,
        "apos" => '\'' as u32,
        "plus" => '+' as u32,
        "equals" => '=' as u32,
        "sol" => '/' as u32,
        "bsol" => '\\' as u32,
        "percnt" => '%' as u32,
        "lpar" => '(' as u32,
        "rpar" => ')' as u32,
        "eacute" => 'é' as u32,
        "szlig" => 'ß' as u32,
        _ => match name.strip_prefix('#')? {
            digits if digits.starts_with(['x', 'X']) => u32::from_str_radix(&digits[1..], 16).ok()?,
            digits => digits.parse().ok()?,
        },
    };
    Some((end + 1, utf8(code)?))
}

fn printable(rest: &[u8]) -> Option<(usize, Vec<u8>)> {
    match rest {
        [b'\r', b'\n', ..] => Some((2, Vec::new())),
        [b'\n', ..] => Some((1, Vec::new())),
        _ => Some((2, vec![u8::try_from(number(rest.get(..2)?, 16)?).ok()?])),
    }
}

/// What base64 runs give, over line breaks, at each alignment.
fn runs(text: &[u8]) -> Vec<Vec<u8>> {
    let is_member = |b: &u8| b.is_ascii_alphanumeric() || b"+/-_\r\n \t".contains(b);
    let lax = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&alphabet::STANDARD, lax);
    let mut found = Vec::new();
    for run in text.split(|b| !is_member(b)).filter(|run| run.len() >= 6) {
        let folded = |b: &u8| match b {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        };
        let whole: Vec<u8> = run.iter().filter(|b| !b.is_ascii_whitespace()).map(folded).collect();
        for skipped in 0..4.min(whole.len()) {
            let part = &whole[skipped..];
            let part = &part[..part.len() - usize::from(part.len() % 4 == 1)];
            found.extend(engine.decode(part));
        }
    }
    found
}

fn hexadecimal(text: &[u8]) -> Vec<Vec<u8>> {
    let is_member = |b: &u8| b.is_ascii_hexdigit() || b":- \r\n\t".contains(b);
    let runs = text.split(|b| !is_member(b)).filter(|run| run.len() >= 8);
    runs.flat_map(|run| {
        let digits: Vec<u8> = run.iter().copied().filter(u8::is_ascii_hexdigit).collect();
        [0, 1].map(|skipped| {
            let part = digits.get(skipped..).unwrap_or_default();
            hex::decode(&part[..part.len() / 2 * 2]).unwrap_or_default()
        })
    })
    .collect()
}

fn numbers(text: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(text);
    let inside = text.split('[').skip(1).filter_map(|part| part.split(']').next());
    let bytes = |part: &str| -> Option<Vec<u8>> {
        part.split(',').map(|word| Some(word.trim().parse::<i16>().ok()?.to_le_bytes()[0])).collect()
    };
    inside.filter_map(bytes).collect()
}

#[test]
fn the_decoders_find_what_the_encoders_write() {
    use super::encoders::by_rule;
    for secret in ["sk+Live/7f=3a~9", "a'b\"c\\d&e<f>g%h"] {
        let missed: Vec<String> = by_rule(secret)
            .into_iter()
            .filter(|written| !reveals(written.text.as_bytes(), secret))
            .map(|written| format!("{}: {}", written.by, written.text))
            .collect();
        assert!(missed.is_empty(), "{missed:#?}");
    }
    assert!(!reveals(b"{\"seen\":\"[redacted]\",\"end\":1}", "sk+Live/7f=3a~9"));
}
