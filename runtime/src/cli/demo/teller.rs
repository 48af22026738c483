//! How the demo is printed: with colour and ticks on a terminal, plain when piped, one JSON event per
//! line on request.

use anstyle::{AnsiColor, Style};
use serde_json::json;

use crate::cli::{on_terminal, output};

enum Manner {
    Terminal,
    Plain,
    Json,
}

/// Prints steps and counts them.
pub(super) struct Teller {
    manner: Manner,
    steps: u32,
}

const TITLE: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const QUIET: Style = AnsiColor::BrightBlack.on_default();

impl Teller {
    pub(super) fn new(json: bool) -> Self {
        let manner = match (json, on_terminal()) {
            (true, _) => Manner::Json,
            (false, true) => Manner::Terminal,
            (false, false) => Manner::Plain,
        };
        Self { manner, steps: 0 }
    }

    pub(super) fn begin(&self, text: &str) {
        match self.manner {
            Manner::Terminal => output::line(&format!("\n{TITLE}{text}{TITLE:#}")),
            Manner::Plain => output::line(text),
            Manner::Json => output::line(&json!({ "event": "begin", "text": text }).to_string()),
        }
    }

    pub(super) fn note(&self, text: &str) {
        match self.manner {
            Manner::Terminal => output::line(&format!("{QUIET}{text}{QUIET:#}")),
            Manner::Plain => output::line(text),
            Manner::Json => output::line(&json!({ "event": "note", "text": text }).to_string()),
        }
    }

    /// Prints one step. A step that did not end as described ends the demo.
    pub(super) fn step(&mut self, title: &str, held: bool, details: &[String]) -> Result<(), String> {
        self.steps += 1;
        let number = self.steps;
        match self.manner {
            Manner::Terminal => {
                let (style, tick) = if held { (GOOD, "✔") } else { (BAD, "✘") };
                output::line(&format!("\n{style}{tick}{style:#} {TITLE}{number:>2}. {title}{TITLE:#}"));
                for detail in details {
                    output::line(&format!("      {QUIET}{detail}{QUIET:#}"));
                }
            }
            Manner::Plain => {
                let word = if held { "ok" } else { "FAILED" };
                output::line(&format!("{number:>2}. [{word}] {title}"));
                for detail in details {
                    output::line(&format!("      {detail}"));
                }
            }
            Manner::Json => output::line(
                &json!({ "event": "step", "step": number, "ok": held, "title": title, "details": details })
                    .to_string(),
            ),
        }
        if held { Ok(()) } else { Err(format!("step {number} did not end as told: {title}")) }
    }

    pub(super) fn end(&self, held: bool, text: &str) {
        match self.manner {
            Manner::Terminal => {
                let style = if held { GOOD } else { BAD };
                output::line(&format!("\n{style}{text}{style:#} {} steps.\n", self.steps));
            }
            Manner::Plain => output::line(&format!("{text} {} steps.", self.steps)),
            Manner::Json => {
                output::line(
                    &json!({ "event": "end", "ok": held, "steps": self.steps, "text": text }).to_string(),
                );
            }
        }
    }
}
