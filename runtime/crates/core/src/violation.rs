//! One thing that is wrong with a document: where, which rule, and what would be right.

use schemars::JsonSchema;
use serde::Serialize;

/// Violations that are shown; a person mends no more at a time.
pub const VIOLATIONS_MAX: usize = 50;
/// Names for which a close one is looked for.
const HINTS_MAX: usize = 20;
/// Longest pointer that is shown, bytes.
const POINTER_BYTES_MAX: usize = 1024;
/// Longest message, bytes: the body that an example makes fits.
const MESSAGE_BYTES_MAX: usize = 4096;
/// Characters of a name that are compared.
const NAME_CHARS_MAX: usize = 80;
/// Most edits of a name that is close.
const EDITS_MAX: usize = 2;

/// A breach of a rule, found by validation. Never quotes a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Violation {
    /// JSON pointer (RFC 6901) into the document that was sent.
    pub pointer: String,
    /// Stable snake_case code of the rule.
    pub code: &'static str,
    /// What is wrong and what the accepted form is.
    pub message: String,
}

impl Violation {
    /// A breach at `pointer`.
    #[must_use]
    pub fn new(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, message: message.into() }
    }

    /// The same with what is very long cut: the sender chooses names and texts, and an answer stays small.
    fn cut(mut self) -> Self {
        if self.pointer.len() > POINTER_BYTES_MAX {
            self.pointer.truncate(self.pointer.floor_char_boundary(POINTER_BYTES_MAX));
            // Why the ancestor: a pointer that ends inside a name is the pointer of something else.
            self.pointer.truncate(self.pointer.rfind('/').unwrap_or_default());
            self.message.insert_str(0, "below this, at a name that is too long to be shown: ");
        }
        if self.message.len() > MESSAGE_BYTES_MAX {
            self.message.truncate(self.message.floor_char_boundary(MESSAGE_BYTES_MAX));
            self.message.push('…');
        }
        self
    }
}

/// The code of the entry that counts what is not shown.
pub const MORE: &str = "more_violations";

/// Violations found so far: the first ones, and how many more there are. So the work and the answer are bounded
/// however much is wrong with a document.
#[derive(Debug, Default)]
pub struct Violations {
    kept: Vec<Violation>,
    /// Found, and neither shown nor the same as one that is.
    more: usize,
    /// Found, repetitions included.
    found: usize,
    hints: usize,
}

impl Violations {
    /// Adds a violation. One that is there already is not added again.
    pub fn push(&mut self, violation: Violation) {
        self.found = self.found.saturating_add(1);
        let violation = violation.cut();
        if self.kept.contains(&violation) {
            return;
        }
        if self.is_full() {
            self.more = self.more.saturating_add(1);
        } else {
            self.kept.push(violation);
        }
    }

    /// Adds a violation that is only made if it is shown.
    pub fn push_with(&mut self, make: impl FnOnce() -> Violation) {
        if self.is_full() { self.count(1) } else { self.push(make()) }
    }

    /// Counts violations that are not shown.
    pub const fn count(&mut self, more: usize) {
        self.found = self.found.saturating_add(more);
        self.more = self.more.saturating_add(more);
    }

    /// Whether further violations are only counted.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.kept.len() >= VIOLATIONS_MAX
    }

    /// The number of violations found, repetitions included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.found
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.found == 0
    }

    /// Those that are shown.
    pub fn iter(&self) -> std::slice::Iter<'_, Violation> {
        self.kept.iter()
    }

    /// Those that are shown since there were so many, to be changed.
    pub fn since(&mut self, count: usize) -> impl Iterator<Item = &mut Violation> {
        self.kept.iter_mut().skip(count)
    }

    /// The number of those that are shown.
    #[must_use]
    pub const fn shown(&self) -> usize {
        self.kept.len()
    }

    /// `; did you mean "…"?` for a mistyped name; empty if no known name is close, and for all but the first few:
    /// the search is the expensive part, and a document full of unknown names is none with typing errors.
    #[must_use]
    pub fn hint<'n>(&mut self, typed: &str, known: impl Iterator<Item = &'n str>) -> String {
        if self.is_full() || self.hints >= HINTS_MAX {
            return String::new();
        }
        self.hints = self.hints.saturating_add(1);
        nearest(typed, known).map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
    }

    /// As a list; the last entry says how many more there are.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<Violation> {
        if self.more > 0 {
            let message = format!("{} more were found and are not shown; mend these first", self.more);
            self.kept.push(Violation::new("", MORE, message));
        }
        self.kept
    }
}

impl Extend<Violation> for Violations {
    fn extend<I: IntoIterator<Item = Violation>>(&mut self, violations: I) {
        violations.into_iter().for_each(|violation| self.push(violation));
    }
}

impl<'v> IntoIterator for &'v Violations {
    type Item = &'v Violation;
    type IntoIter = std::slice::Iter<'v, Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One step of a JSON pointer, with `~` and `/` escaped (RFC 6901 section 3).
#[must_use]
pub fn step(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The known name closest to a mistyped one, if any is close: the same words in another spelling, or at most two edits and
/// fewer than half of its letters.
#[must_use]
pub fn nearest<'n>(typed: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let known: Vec<&str> = known.collect();
    let words = letters(typed);
    if !words.is_empty()
        && let Some(same) = known.iter().find(|name| **name != typed && letters(name) == words)
    {
        return Some(same);
    }
    let length = typed.chars().take(NAME_CHARS_MAX).count();
    known
        .into_iter()
        // Why first: the difference in length is a lower bound, and counting is cheap.
        .filter(|name| name.chars().take(NAME_CHARS_MAX).count().abs_diff(length) <= EDITS_MAX)
        .map(|name| (edit_distance(typed, name), name))
        .filter(|(distance, name)| *distance <= EDITS_MAX && distance * 2 < name.len().max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// A name without capitals and separators: `actionId` and `action_id` have the same.
fn letters(name: &str) -> String {
    let plain = name.chars().take(NAME_CHARS_MAX).filter(|c| !matches!(c, '_' | '-'));
    plain.flat_map(char::to_lowercase).collect()
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(NAME_CHARS_MAX).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(NAME_CHARS_MAX).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let up = row.get(j + 1).copied().unwrap_or(usize::MAX);
            let value = (diagonal + usize::from(ca != *cb)).min(up + 1).min(left + 1);
            diagonal = up;
            if let Some(cell) = row.get_mut(j) {
                *cell = left;
            }
            left = value;
        }
        if let Some(cell) = row.last_mut() {
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_field_and_a_stranger_finds_none() {
        let known = ["allowed_domains", "actions", "enabled"];
        assert_eq!(nearest("allowed_domain", known.into_iter()), Some("allowed_domains"));
        assert_eq!(nearest("alowed_domians", known.into_iter()), None);
        assert_eq!(nearest("enable", known.into_iter()), Some("enabled"));
        assert_eq!(nearest("webhooks", known.into_iter()), None);
        let names = ["action", "action_id", "url_template"];
        assert_eq!(nearest("actionId", names.into_iter()), Some("action_id"));
        assert_eq!(nearest("URL-Template", names.into_iter()), Some("url_template"));
        assert_eq!(nearest("actons", names.into_iter()), Some("action"));
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("abc", "abc"), 0);
    }

    #[test]
    fn violations_are_shown_up_to_a_number_and_counted_beyond() {
        let mut violations = Violations::default();
        for n in 0..1000 {
            violations.push(Violation::new(format!("/{n}"), "wrong_type", "must be text"));
            violations.push(Violation::new("/0", "wrong_type", "must be text"));
        }
        violations.push_with(|| panic!("it is not shown"));
        let hints =
            (0..20).filter(|_| !Violations::default().hint("enable", ["enabled"].into_iter()).is_empty());
        assert_eq!(hints.count(), 20);
        assert_eq!(violations.hint("enable", ["enabled"].into_iter()), "", "nothing more is shown");
        let list = violations.into_vec();
        assert_eq!(list.len(), VIOLATIONS_MAX + 1);
        let last = list.last().unwrap();
        assert_eq!((last.code, last.message.starts_with("951 more")), (MORE, true), "{last:?}");
        let few = {
            let mut few = Violations::default();
            few.push(Violation::new("/a", "wrong_type", "x"));
            few.into_vec()
        };
        assert_eq!(few.len(), 1);
    }

    #[test]
    fn only_the_first_names_get_a_hint() {
        let mut violations = Violations::default();
        let hints =
            (0..30).filter(|_| !violations.hint("enable", ["enabled"].into_iter()).is_empty()).count();
        assert_eq!(hints, HINTS_MAX);
    }

    #[test]
    fn what_the_sender_made_long_is_cut() {
        let mut violations = Violations::default();
        let pointer = format!("/a/{}/b", "x".repeat(5000));
        violations.push(Violation::new(pointer, "wrong_type", "é".repeat(5000)));
        let list = violations.into_vec();
        let long = list.first().unwrap();
        assert_eq!(long.pointer, "/a");
        assert!(long.message.len() < MESSAGE_BYTES_MAX + 8 && long.message.contains("too long"));
    }

    #[test]
    fn its_schema_is_what_is_written() {
        crate::structure::assert_written(&Violation::new("/a", "wrong_type", "must be string"));
    }

    #[test]
    fn pointer_steps_are_escaped() {
        assert_eq!(step("a/b~c"), "a~1b~0c");
    }
}
