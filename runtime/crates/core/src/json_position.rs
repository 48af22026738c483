//! Where in a JSON text a pointer leads: for people who mend the text in an editor.
//!
//! The text was read before, so it is JSON; of another text the place is a guess and never an error.

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// The text without a byte order mark at its start, which some editors write and JSON has none of (RFC 8259 section 8.1).
#[must_use]
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// The place of what a JSON pointer names: of a member its name, of an entry its value. Of what is not there, the place of
/// the innermost value that is.
#[must_use]
pub fn position_of(text: &[u8], pointer: &str) -> Position {
    let steps: Vec<String> = match pointer.strip_prefix('/') {
        Some(steps) => steps.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect(),
        None => Vec::new(),
    };
    let at = Scanner { text, at: 0 }.find(&steps);
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let in_line = before.get(line_start..).unwrap_or_default();
    Position {
        line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
        column: String::from_utf8_lossy(in_line).chars().count() + 1,
    }
}

/// Walks through a text without reading its values.
struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Where the value at these steps is.
    fn find(mut self, steps: &[String]) -> usize {
        self.blanks();
        let mut found = self.at;
        for step in steps {
            let inside = match self.peek() {
                Some(b'{') => self.member(step),
                Some(b'[') => self.entry(step),
                _ => None,
            };
            let Some(at) = inside else { return found };
            found = at;
        }
        found
    }

    /// Goes to the value of a member of the object here; the place of its name.
    fn member(&mut self, name: &str) -> Option<usize> {
        self.at += 1;
        loop {
            self.blanks();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return None;
            }
            self.string();
            let token = self.text.get(start..self.at)?;
            let is_it = serde_json::from_slice::<String>(token).is_ok_and(|found| found == name);
            self.blanks();
            if self.peek() != Some(b':') {
                return None;
            }
            self.at += 1;
            self.blanks();
            if is_it {
                return Some(start);
            }
            self.pass_value()?;
        }
    }

    /// Goes to an entry of the array here; its place.
    fn entry(&mut self, index: &str) -> Option<usize> {
        let index: usize = index.parse().ok()?;
        self.at += 1;
        self.blanks();
        if self.peek() == Some(b']') {
            return None;
        }
        for _ in 0..index {
            self.pass_value()?;
            self.blanks();
        }
        Some(self.at)
    }

    /// Passes the value here and the comma behind it; `None` if there is no comma.
    fn pass_value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string();
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.checked_sub(1)?,
                b',' if depth == 0 => {
                    self.at += 1;
                    return Some(());
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Passes the string here.
    fn string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_leads_to_line_and_column() {
        let text = "{\n  \"a\": 1,\n  \"b/c\": { \"d\": [10, {\"é\": 2, \"e\\\"}\": [\"]\"]}, 30] },\n\t\"z\": null\n}\n";
        for (pointer, line, column) in [
            ("", 1, 1),
            ("/a", 2, 3),
            ("/b~1c", 3, 3),
            ("/b~1c/d", 3, 12),
            ("/b~1c/d/0", 3, 18),
            ("/b~1c/d/1", 3, 22),
            ("/b~1c/d/1/é", 3, 23),
            ("/b~1c/d/1/e\"}", 3, 31),
            ("/b~1c/d/1/e\"}/0", 3, 40),
            ("/b~1c/d/2", 3, 47),
            ("/b~1c/d/3", 3, 12),
            ("/z", 4, 2),
            ("/nothing", 1, 1),
            ("/a/b", 2, 3),
        ] {
            assert_eq!(position_of(text.as_bytes(), pointer), Position { line, column }, "{pointer}");
        }
        for broken in ["", "{", "{\"a\"", "{\"a\":", "[", "[1", "\"", "\\"] {
            let _ = position_of(broken.as_bytes(), "/a/0");
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        assert_eq!(without_mark(b"\xef\xbb\xbf{}"), b"{}");
        assert_eq!(without_mark(b"{}"), b"{}");
    }
}
