//! Matching of one label or segment against literals with wildcards between them.

/// A piece of text to match. A wildcard is at least one character and never a separator, because
/// matching happens label by label and segment by segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Glob {
    /// This text and no other.
    Literal(String),
    /// Literals with wildcards between them.
    // Invariant: at least one wildcard, and no two in a row; `None` is a wildcard.
    Parts(Vec<Option<String>>),
}

impl Glob {
    pub(super) const EMPTY: Self = Self::Literal(String::new());

    pub(super) fn push_literal(&mut self, text: &str) {
        match self {
            Self::Literal(own) => own.push_str(text),
            Self::Parts(_) if text.is_empty() => {}
            Self::Parts(parts) => match parts.last_mut() {
                Some(Some(last)) => last.push_str(text),
                _ => parts.push(Some(text.to_owned())),
            },
        }
    }

    pub(super) fn push_wildcard(&mut self) {
        match self {
            Self::Literal(own) => {
                let before = Some(std::mem::take(own)).filter(|text| !text.is_empty());
                *self = Self::Parts(before.into_iter().map(Some).chain([None]).collect());
            }
            Self::Parts(parts) if parts.last() != Some(&None) => parts.push(None),
            Self::Parts(_) => {}
        }
    }

    pub(super) fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Parts(_) => None,
        }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == text,
            Self::Parts(parts) => parts_match(parts, text, &mut |text, literal| text.find(literal)),
        }
    }
}

/// Whether literals with wildcards between them match a whole text.
///
/// The first literal stands at the text's beginning and the last at its end, unless a wildcard does. Each of the
/// others is put where it is first found: any later place leaves less for those that follow, so no other division
/// has to be tried. `find` never looks at a part of the text again, so the work is the text's length and the
/// literals' together.
fn parts_match(
    parts: &[Option<String>],
    text: &str,
    find: &mut impl FnMut(&str, &str) -> Option<usize>,
) -> bool {
    let (mut parts, mut rest) = (parts, text);
    if let [Some(first), others @ ..] = parts {
        let Some(tail) = rest.strip_prefix(first.as_str()) else { return false };
        (parts, rest) = (others, tail);
    }
    // From here on a wildcard is next.
    if let [others @ .., Some(last)] = parts {
        let Some(head) = rest.strip_suffix(last.as_str()) else { return false };
        (parts, rest) = (others, head);
    }
    for part in parts {
        rest = match part {
            None => {
                let mut chars = rest.chars();
                if chars.next().is_none() {
                    return false;
                }
                chars.as_str()
            }
            Some(literal) => match find(rest, literal).and_then(|at| rest.get(at + literal.len()..)) {
                Some(tail) => tail,
                None => return false,
            },
        };
    }
    // The last part is a wildcard, which takes whatever is left.
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glob(parts: &[Option<&str>]) -> Glob {
        let mut glob = Glob::EMPTY;
        for part in parts {
            match part {
                Some(text) => glob.push_literal(text),
                None => glob.push_wildcard(),
            }
        }
        glob
    }

    /// Tries every division of the text.
    fn reference(parts: &[Option<String>], text: &str) -> bool {
        match parts {
            [] => text.is_empty(),
            [Some(literal), rest @ ..] => {
                text.strip_prefix(literal.as_str()).is_some_and(|tail| reference(rest, tail))
            }
            [None, rest @ ..] => {
                let ends = text.char_indices().map(|(at, ch)| at + ch.len_utf8());
                ends.into_iter().any(|end| reference(rest, &text[end..]))
            }
        }
    }

    #[test]
    fn s2_a_text_full_of_the_literal_is_looked_at_once() {
        // `{{input.a}}-{{input.b}}-{{input.c}}.json`, and many more of the kind.
        let few = [None, Some("-"), None, Some("-"), None, Some(".json")];
        let many: Vec<Option<&str>> = few.iter().copied().cycle().take(120).chain([Some("!")]).collect();
        let hostile = "-".repeat(7000);
        for parts in [&few[..], &many] {
            let Glob::Parts(parts) = glob(parts) else { panic!("it has wildcards") };
            let mut looked_at = 0;
            let matched = parts_match(&parts, &hostile, &mut |text, literal| {
                let found = text.find(literal);
                looked_at += found.map_or(text.len(), |at| at + literal.len());
                found
            });
            assert!(!matched);
            assert!(looked_at <= hostile.len(), "{looked_at}");
        }
        assert!(glob(&few).matches("a-b-c.json"));
        assert!(glob(&few).matches(&format!("{hostile}.json")));
        assert!(!glob(&few).matches("a-b.json") && !glob(&few).matches("-b-c.json"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
        #[test]
        fn s2_matching_is_that_of_the_reference(
            parts in prop::collection::vec(prop::option::of("[ab\u{e9}]{1,2}"), 1..7),
            text in "[ab\u{e9}]{0,12}",
        ) {
            let parts: Vec<Option<&str>> = parts.iter().map(Option::as_deref).collect();
            let glob = glob(&parts);
            let expected = match &glob {
                Glob::Literal(literal) => *literal == text,
                Glob::Parts(parts) => reference(parts, &text),
            };
            prop_assert_eq!(glob.matches(&text), expected);
        }
    }
}
