//! A pattern of a definition as ECMA-262 writes it, with the `u` flag.

/// Punctuation that may stand behind a backslash outside a class.
const SYNTAX: &str = r"^$\.*+?()[]{}|/";

/// The pattern, anchored; `None` for one that uses what ECMA-262 does not have or reads differently.
pub(super) fn portable(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    out.push_str("^(?:");
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => escaped(chars.next()?, in_class, &mut chars, &mut out)?,
            '[' if in_class => return None,
            '[' => {
                in_class = true;
                out.push(c);
                if chars.peek() == Some(&'^') {
                    out.extend(chars.next());
                }
                if chars.peek() == Some(&']') {
                    return None;
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(c);
            }
            ']' => out.push_str(r"\]"),
            '&' | '~' | '-' if in_class && chars.peek() == Some(&c) => return None,
            '(' if !in_class && chars.peek() == Some(&'?') => {
                chars.next();
                if chars.next() != Some(':') {
                    return None;
                }
                out.push_str("(?:");
            }
            '{' if !in_class => {
                out.push(c);
                repetition(&mut chars, &mut out)?;
            }
            '}' if !in_class => out.push_str(r"\}"),
            _ => out.push(c),
        }
    }
    out.push_str(")$");
    Some(out)
}

type Chars<'p> = std::iter::Peekable<std::str::Chars<'p>>;

/// What stands behind a backslash.
fn escaped(c: char, in_class: bool, chars: &mut Chars<'_>, out: &mut String) -> Option<()> {
    match c {
        'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'n' | 'r' | 't' | 'f' | 'v' => out.extend(['\\', c]),
        'b' | 'B' if !in_class => out.extend(['\\', c]),
        'x' => {
            let digits: String = chars.by_ref().take(2).collect();
            let hex = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            out.push_str(&format!("\\x{}", hex.then_some(digits)?));
        }
        '-' if in_class => out.push_str(r"\-"),
        _ if SYNTAX.contains(c) => out.extend(['\\', c]),
        _ if c.is_ascii_punctuation() => out.push(c),
        _ => return None,
    }
    Some(())
}

/// A repetition up to its closing brace: digits, perhaps a comma.
fn repetition(chars: &mut Chars<'_>, out: &mut String) -> Option<()> {
    loop {
        let c = chars.next()?;
        match c {
            '0'..='9' | ',' => out.push(c),
            '}' => {
                out.push(c);
                return Some(());
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_written_as_ecma_262_reads_it_or_not_at_all() {
        for (pattern, expected) in [
            ("sk-[a-z0-9]{20}", r"^(?:sk-[a-z0-9]{20})$"),
            (r"[A-Z]{2,}\-\d+", r"^(?:[A-Z]{2,}-\d+)$"),
            (r"[\-_a]\.\/\@", r"^(?:[\-_a]\.\/@)$"),
            ("a|b", "^(?:a|b)$"),
            (r"(?:a)]\x41}", r"^(?:(?:a)\]\x41\})$"),
        ] {
            assert_eq!(portable(pattern).as_deref(), Some(expected), "{pattern}");
        }
        for pattern in
            ["(?i)a", "[[:alpha:]]", r"\x{41}", "[a&&b]", "[]a]", r"\Aa", "(?P<n>a)", r"\u0041", "a\\"]
        {
            assert_eq!(portable(pattern), None, "{pattern}");
        }
    }
}
