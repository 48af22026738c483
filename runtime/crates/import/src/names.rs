//! Names and texts of a description, adapted to the format.

use std::collections::HashMap;

/// A piece of the description's text, short enough for a message.
pub(crate) fn shown(text: &str) -> String {
    cut(text, 100).0
}

/// At most `max` characters, and whether the text was cut.
pub(crate) fn cut(text: &str, max: usize) -> (String, bool) {
    match text.char_indices().nth(max) {
        None => (text.to_owned(), false),
        Some((at, _)) => (text.get(..at).unwrap_or_default().to_owned(), true),
    }
}

/// One line of at most `max` characters: control characters and runs of white space become one space.
pub(crate) fn one_line(text: &str, max: usize) -> (String, bool) {
    let mut out = String::new();
    let mut count = 0_usize;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()) {
        let blank = usize::from(count > 0);
        if count + blank >= max {
            return (out, true);
        }
        if blank == 1 {
            out.push(' ');
        }
        let (piece, is_cut) = cut(word, max - count - blank);
        count += blank + piece.chars().count();
        out.push_str(&piece);
        if is_cut {
            return (out, true);
        }
    }
    (out, false)
}

/// Several lines of at most `max` characters, without control characters except line feeds and tabs.
pub(crate) fn paragraph(text: &str, max: usize) -> (String, bool) {
    let mut kept = text.trim().chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    let out: String = kept.by_ref().take(max).collect();
    (out, kept.next().is_some())
}

/// Text of `allowed` characters, every run of others replaced by one `-`; at most 63, from the first letter or
/// digit on. Empty if there is none.
fn slug(text: &str, allowed: fn(char) -> bool) -> String {
    let mut out = String::new();
    for ch in text.chars() {
        if allowed(ch) {
            if out.is_empty() && !ch.is_ascii_alphanumeric() {
                continue;
            }
            out.push(ch);
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
        if out.len() >= 63 {
            break;
        }
    }
    out.trim_end_matches(['-', '.', '_']).to_owned()
}

/// A connector id from a title: `^[a-z0-9][a-z0-9_-]{0,62}$`.
pub(crate) fn connector_id(title: &str) -> String {
    let lower: String = title.chars().take(200).flat_map(char::to_lowercase).collect();
    let id = slug(&lower, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if id.is_empty() { "imported-api".to_owned() } else { id }
}

/// An action id: `^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`. Empty if the text has no letter or digit.
pub(crate) fn action_id(text: &str) -> String {
    slug(text, |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// A config field's name: `^[A-Za-z_][A-Za-z0-9_]{0,62}$`.
pub(crate) fn field_name(text: &str) -> String {
    let mut out: String =
        text.chars().take(50).map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if !out.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        out.insert(0, '_');
    }
    out
}

/// A name that may be used in a template: without braces, quotes, bars, control characters and white space
/// at its ends.
pub(crate) fn template_name(text: &str) -> String {
    let clean: String = text
        .trim()
        .chars()
        .take(crate::limits::NAME_CHARS_MAX)
        .map(|c| if matches!(c, '{' | '}' | '\'' | '|') || c.is_control() { '_' } else { c })
        .collect();
    let clean = clean.trim();
    if clean.is_empty() { "_".to_owned() } else { clean.to_owned() }
}

/// Assigns names, each once; a second one gets `-2`, a third `-3`.
#[derive(Debug, Default)]
pub(crate) struct Unique {
    next: HashMap<String, usize>,
}

impl Unique {
    pub(crate) fn is_free(&self, name: &str) -> bool {
        !self.next.contains_key(name)
    }

    /// `name`, or `name` with a number; never longer than `max` characters.
    pub(crate) fn take(&mut self, name: &str, max: usize) -> String {
        let mut candidate = cut(name, max).0;
        let base = candidate.clone();
        while !self.is_free(&candidate) {
            let number = self.next.get_mut(&base).map_or(2, |n| {
                *n += 1;
                *n
            });
            let suffix = format!("-{number}");
            candidate = cut(&base, max.saturating_sub(suffix.len())).0;
            candidate.push_str(&suffix);
        }
        self.next.insert(candidate.clone(), 1);
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_of_the_format() {
        for (text, expected) in [
            ("Slack Web API", "slack-web-api"),
            ("  GitHub v3 (REST)  ", "github-v3-rest"),
            ("_x_", "x"),
            ("日本", "imported-api"),
            ("", "imported-api"),
        ] {
            assert_eq!(connector_id(text), expected, "{text:?}");
        }
        for (text, expected) in [
            ("repos/get", "repos-get"),
            ("Users_List.all", "Users_List.all"),
            ("/-._a b", "a-b"),
            ("get /a/{b}", "get-a-b"),
            ("{}", ""),
        ] {
            assert_eq!(action_id(text), expected, "{text:?}");
        }
        assert_eq!(action_id(&"a".repeat(80)).len(), 63);
        assert_eq!(connector_id(&"a".repeat(80)).len(), 63);
        assert_eq!(field_name("your-domain"), "your_domain");
        assert_eq!(field_name("1st"), "_1st");
    }

    #[test]
    fn a_name_for_a_template_keeps_what_it_may() {
        assert_eq!(template_name("a.b-c d"), "a.b-c d");
        assert_eq!(template_name(" a{b}'|\n"), "a_b___".trim_end_matches('_').to_owned() + "___");
        assert_eq!(template_name("  "), "_");
    }

    #[test]
    fn a_name_is_handed_out_once() {
        let mut unique = Unique::default();
        assert_eq!(unique.take("a", 63), "a");
        assert_eq!(unique.take("a-2", 63), "a-2");
        assert_eq!(unique.take("a", 63), "a-3");
        assert_eq!(unique.take("a", 63), "a-4");
        let long = "x".repeat(63);
        unique.take(&long, 63);
        assert_eq!(unique.take(&long, 63), format!("{}-2", "x".repeat(61)));
    }

    #[test]
    fn texts_are_cut_at_characters() {
        assert_eq!(one_line(" a\n b\u{0}c  ", 120), ("a b c".to_owned(), false));
        assert_eq!(one_line("éé éé", 4), ("éé é".to_owned(), true));
        assert_eq!(one_line("éé éé", 5), ("éé éé".to_owned(), false));
        assert_eq!(paragraph("a\nb\u{7}", 10), ("a\nb".to_owned(), false));
        assert_eq!(paragraph("abc", 2), ("ab".to_owned(), true));
    }
}
