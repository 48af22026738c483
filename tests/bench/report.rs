//! The figures: as a table for people, and as JSON for comparing runs.

use std::path::Path;

use serde_json::{Value, json};

use crate::{Failure, print};

/// One figure.
pub(crate) struct Row {
    pub(crate) name: String,
    /// The same without the product, if that exists.
    pub(crate) baseline: Option<f64>,
    pub(crate) portcullis: f64,
    pub(crate) ratio: Option<f64>,
    /// The target in `docs/performance.md`: for the ratio if there is one, otherwise for the figure.
    pub(crate) target: Option<Target>,
}

/// What a figure should be.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    /// A figure of the product alone.
    pub(crate) fn alone(name: &str, value: f64, target: Option<Target>) -> Self {
        Self { name: name.to_owned(), baseline: None, portcullis: value, ratio: None, target }
    }

    /// Whether it meets the target.
    fn met(&self) -> Option<bool> {
        let value = self.ratio.unwrap_or(self.portcullis);
        self.target.map(|target| match target {
            Target::AtLeast(least) => value >= least,
            Target::AtMost(most) => value <= most,
        })
    }

    fn document(&self) -> Value {
        let target = self.target.map(|t| match t {
            Target::AtLeast(n) | Target::AtMost(n) => n,
        });
        json!({ "name": self.name, "baseline": self.baseline, "portcullis": self.portcullis,
                "ratio": self.ratio, "target": target, "met": self.met() })
    }

    fn line(&self) -> String {
        let number = |n: Option<f64>| n.map_or_else(|| "-".to_owned(), |n| format!("{n:.2}"));
        let target = self.target.map_or_else(String::new, |t| match t {
            Target::AtLeast(n) => format!(">= {n}"),
            Target::AtMost(n) => format!("<= {n}"),
        });
        let met = self.met().map_or("", |met| if met { "met" } else { "MISSED" });
        format!(
            "{:<24} {:>12} {:>12} {:>8}  {:<10} {met}",
            self.name,
            number(self.baseline),
            number(Some(self.portcullis)),
            number(self.ratio),
            target
        )
    }
}

/// Prints the table and writes the file.
pub(crate) fn write(out: &Path, rows: &[Row], settings: &Value) -> Result<(), Failure> {
    print(&format!("{:<24} {:>12} {:>12} {:>8}  {:<10}", "", "baseline", "portcullis", "ratio", "target"))?;
    for row in rows {
        print(&row.line())?;
    }
    let rows: Vec<Value> = rows.iter().map(Row::document).collect();
    let document = json!({ "machine": machine(), "settings": settings, "rows": rows });
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(out, format!("{document:#}\n"))?;
    print(&format!("written to {}", out.display()))
}

fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ")).map(|(_, m)| m);
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "cpu": model,
        "memory": read("/proc/meminfo").lines().next().map(str::to_owned),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "portcullis": env!("CARGO_PKG_VERSION"),
    })
}

/// The middle one; the mean of the middle two of an even number.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = |i: usize| values.get(i).copied().unwrap_or_default();
    let half = values.len() / 2;
    if values.len() % 2 == 1 {
        middle(half)
    } else {
        f64::midpoint(middle(half.saturating_sub(1)), middle(half))
    }
}
