//! The findings, as a table for people.

use std::collections::BTreeSet;
use std::fmt;

/// One action.
pub(crate) struct Row {
    action: String,
    statuses: Vec<u16>,
    is_described: bool,
    undeclared: BTreeSet<String>,
    broken_tried: usize,
    broken_refused: usize,
    is_wrong: bool,
    notes: Vec<String>,
}

impl Row {
    pub(crate) fn new(action: &str) -> Self {
        Self {
            action: action.to_owned(),
            statuses: Vec::new(),
            is_described: true,
            undeclared: BTreeSet::new(),
            broken_tried: 0,
            broken_refused: 0,
            is_wrong: false,
            notes: Vec::new(),
        }
    }

    pub(crate) fn status(&mut self, status: u16) {
        self.statuses.push(status);
    }

    pub(crate) fn is_not_described(&mut self) {
        self.is_described = false;
    }

    pub(crate) fn undeclared(&mut self, names: Vec<String>) {
        self.is_wrong |= !names.is_empty();
        self.undeclared.extend(names);
    }

    pub(crate) fn broken(&mut self, refused: bool) {
        self.broken_tried += 1;
        self.broken_refused += usize::from(refused);
    }

    /// A remark that does not count against the entry.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub(crate) fn wrong(&mut self, text: impl Into<String>) {
        self.is_wrong = true;
        self.notes.push(format!("WRONG {}", text.into()));
    }

    fn cells(&self) -> [String; 4] {
        let mock = match (self.is_described, self.statuses.is_empty()) {
            (false, _) => "not described".to_owned(),
            (true, true) => "nothing sent".to_owned(),
            (true, false) => grouped(&self.statuses),
        };
        let names = self.undeclared.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let undeclared = match (self.is_described, names.is_empty()) {
            (false, _) => "-".to_owned(),
            (true, true) => "none".to_owned(),
            (true, false) => names,
        };
        let broken = match self.broken_tried {
            0 => "-".to_owned(),
            tried => format!("{} of {tried}", self.broken_refused),
        };
        let verdict = match (self.is_wrong, self.is_described) {
            (true, _) => "WRONG",
            (false, true) => "ok",
            (false, false) => "not judged",
        };
        [mock, undeclared, broken, verdict.to_owned()]
    }
}

/// `200 x2, 404`: statuses in order, repeated ones counted.
fn grouped(statuses: &[u16]) -> String {
    let groups = statuses.chunk_by(|a, b| a == b).filter_map(|group| {
        let first = group.first()?;
        Some(if group.len() == 1 { first.to_string() } else { format!("{first} x{}", group.len()) })
    });
    groups.collect::<Vec<_>>().join(", ")
}

/// One catalog entry.
pub(crate) struct Verdict {
    pub(crate) id: String,
    pub(crate) method: String,
    pub(crate) rows: Vec<Row>,
    /// URLs that were answered from the entry's own examples.
    pub(crate) aside: Vec<String>,
    /// Schemas that the mock server could not use.
    pub(crate) unchecked: Vec<String>,
}

impl Verdict {
    /// Actions in all, those not described, and those wrong.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let count = |holds: fn(&&Row) -> bool| self.rows.iter().filter(holds).count();
        (self.rows.len(), count(|row| !row.is_described), count(|row| row.is_wrong))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (auth method: {})", self.id, self.method)?;
        let heading = ["action", "mock", "undeclared", "broken refused", "verdict"].map(str::to_owned);
        let rows = self.rows.iter().map(|row| {
            let [mock, undeclared, broken, verdict] = row.cells();
            [row.action.clone(), mock, undeclared, broken, verdict]
        });
        let lines: Vec<[String; 5]> = std::iter::once(heading).chain(rows).collect();
        let mut widths = [0; 5];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        for line in &lines {
            let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            writeln!(f, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        for row in &self.rows {
            for note in &row.notes {
                writeln!(f, "  {}: {note}", row.action)?;
            }
        }
        for group in self.aside.chunk_by(|a, b| a == b) {
            let url = group.first().map_or("", String::as_str);
            writeln!(
                f,
                "  asked besides, and answered from the entry's own example: {url} x{}",
                group.len()
            )?;
        }
        for schema in &self.unchecked {
            writeln!(f, "  the mock server checks nothing by a schema that it cannot compile: {schema}")?;
        }
        Ok(())
    }
}
