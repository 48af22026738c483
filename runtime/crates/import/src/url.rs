//! Texts with `{variables}`: paths and server URLs, split into pieces and written as URL template text.

use std::fmt::Write as _;

/// Literal text or the name of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    /// Fixed text.
    Literal(&'t str),
    /// `{name}`.
    Variable(&'t str),
}

/// Splits a text at its `{variables}`.
pub(crate) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, &'static str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('{') {
        push_literal(literal, &mut pieces)?;
        let (name, tail) = after.split_once('}').ok_or("has a brace that is not closed")?;
        if name.is_empty() || name.contains('{') {
            return Err("has braces without one name between them");
        }
        pieces.push(Piece::Variable(name));
        rest = tail;
    }
    push_literal(rest, &mut pieces)?;
    Ok(pieces)
}

fn push_literal<'t>(literal: &'t str, pieces: &mut Vec<Piece<'t>>) -> Result<(), &'static str> {
    if literal.contains('}') {
        return Err("has a closing brace without an opening one");
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(())
}

/// Appends literal path or query text, percent-encoding what is not allowed in a URL. Text that is
/// encoded already stays.
pub(crate) fn push_encoded(text: &str, out: &mut String) {
    for (at, byte) in text.bytes().enumerate() {
        let escape = byte == b'%'
            && text.as_bytes().get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
        let legal = byte.is_ascii_graphic() && !br#"#\"<>^`{|}%"#.contains(&byte);
        if legal || escape {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Why a path is not valid in a URL template.
pub(crate) fn path_problem(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        return Some("does not begin with /");
    }
    if path.contains('#') {
        return Some("has a fragment, which is never sent");
    }
    let dots = path.split(['/', '?']).any(|segment| {
        let plain = segment.replace("%2e", ".").replace("%2E", ".");
        plain == "." || plain == ".."
    });
    dots.then_some("has a `.` or `..` segment")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_and_broken_braces_are_not() {
        assert_eq!(
            pieces("/a/{b}.{c}"),
            Ok(vec![Piece::Literal("/a/"), Piece::Variable("b"), Piece::Literal("."), Piece::Variable("c")])
        );
        assert_eq!(pieces(""), Ok(vec![]));
        for text in ["/{a", "/a}", "/{}", "/{{a}}", "/{a{b}}"] {
            assert!(pieces(text).is_err(), "{text}");
        }
    }

    #[test]
    fn literals_are_encoded_once() {
        for (text, expected) in [
            ("/v1/a:b@c;d=1,(x)", "/v1/a:b@c;d=1,(x)"),
            ("/a b/é", "/a%20b/%C3%A9"),
            ("/a%20b/100%", "/a%20b/100%25"),
            ("/a|b", "/a%7Cb"),
        ] {
            let mut out = String::new();
            push_encoded(text, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn paths_that_lead_elsewhere_are_named() {
        for path in ["a/b", "/a#b", "/a/../b", "/a/%2e%2E/b", "/.", ""] {
            assert!(path_problem(path).is_some(), "{path}");
        }
        for path in ["/", "/a/..b/{c}", "/a?b=./"] {
            assert!(path_problem(path).is_none() || path.contains('?'), "{path}");
        }
    }
}
