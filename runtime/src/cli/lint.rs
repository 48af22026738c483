//! `portcullis lint`: the same checks as an upload, without a server.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use portcullis_core::connector::{Connector, MODULE_NOT_CHECKED};
use portcullis_core::json_position::{Position, position_of, without_mark};
use portcullis_core::limits::Limits;
use portcullis_core::violation::Violation;
use portcullis_engine::modules::local;
use serde_json::{Value, json};

use super::{DONE, FAILED, block_on};
use crate::output;

/// Standard input, as a file's name.
const STDIN: &str = "-";

/// Arguments of `lint`.
#[derive(Debug, Args)]
pub(super) struct LintArgs {
    /// Definition files; `-` is standard input, and of a folder every .json file below it
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The module of a connector that has one: its examples are run
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// Warnings are errors
    #[arg(long)]
    strict: bool,
    /// One JSON object per file
    #[arg(long)]
    json: bool,
}

/// A violation with its place in the file.
struct Placed {
    violation: Violation,
    line: usize,
    column: usize,
}

impl Placed {
    fn document(&self) -> Value {
        let Self { violation: Violation { pointer, code, message }, line, column } = self;
        json!({ "pointer": pointer, "code": code, "message": message, "line": line, "column": column })
    }
}

/// What is said of one file.
struct FileReport {
    file: String,
    valid: bool,
    errors: Vec<Placed>,
    warnings: Vec<Placed>,
}

/// Checks every file; fails if one has an error.
pub(super) fn run(args: &LintArgs) -> u8 {
    let mut sound = true;
    for file in args.files.iter().flat_map(|file| files_of(file)) {
        let report = file.and_then(|file| report(&file, args)).unwrap_or_else(|unread| *unread);
        sound &= report.valid;
        tell(&report, args);
    }
    if sound { DONE } else { FAILED }
}

fn tell(report: &FileReport, args: &LintArgs) {
    if args.json {
        let all = |problems: &[Placed]| -> Vec<Value> { problems.iter().map(Placed::document).collect() };
        let FileReport { file, valid, errors, warnings } = report;
        let (errors, warnings) = (all(errors), all(warnings));
        let told = json!({ "file": file, "valid": valid, "errors": errors, "warnings": warnings });
        output::line(&told.to_string());
        return;
    }
    let name = &report.file;
    for (kind, problems) in [("error", &report.errors), ("warning", &report.warnings)] {
        for Placed { violation, line, column } in problems {
            let at = if violation.pointer.is_empty() { "/" } else { &violation.pointer };
            let (message, code) = (&violation.message, violation.code);
            output::line(&format!("{name}:{line}:{column}: {kind}: {at}: {message} [{code}]"));
        }
    }
    if report.valid {
        output::line(&format!("{name}: ok"));
    }
}

/// What is told of a file that cannot be read.
type Unread = Box<FileReport>;

fn unread(file: &Path, why: impl std::fmt::Display) -> Unread {
    let violation = Violation::new("", "unreadable", why.to_string());
    let errors = vec![Placed { violation, line: 1, column: 1 }];
    Box::new(FileReport { file: file.display().to_string(), valid: false, errors, warnings: Vec::new() })
}

/// The file itself, or the definitions below a folder in the order of their names.
fn files_of(file: &Path) -> Vec<Result<PathBuf, Unread>> {
    if !file.is_dir() {
        return vec![Ok(file.to_owned())];
    }
    let (mut found, mut folders) = (Vec::new(), vec![file.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => return vec![Err(unread(&folder, error))],
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            // Why not through links: they can lead round in a circle.
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "json") {
                found.push(path);
            }
        }
    }
    found.sort();
    if found.is_empty() {
        return vec![Err(unread(file, "there is no .json file in this folder"))];
    }
    found.into_iter().map(Ok).collect()
}

fn report(file: &Path, args: &LintArgs) -> Result<FileReport, Unread> {
    let text = read(file).map_err(|error| unread(file, error))?;
    let text = without_mark(&text);
    let (errors, warnings) = check(text, args.module.as_deref());
    let placed = |all: Vec<Violation>| -> Vec<Placed> {
        let place = |violation: Violation| {
            let Position { line, column } = place_of(text, &violation);
            Placed { violation, line, column }
        };
        all.into_iter().map(place).collect()
    };
    let (mut errors, mut warnings) = (placed(errors), placed(warnings));
    if args.strict {
        errors.append(&mut warnings);
    }
    Ok(FileReport { file: file.display().to_string(), valid: errors.is_empty(), errors, warnings })
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    if file != Path::new(STDIN) {
        return std::fs::read(file);
    }
    let mut text = Vec::new();
    std::io::stdin().lock().read_to_end(&mut text).map(|_| text)
}

/// Where a violation is. What is no JSON has no pointers: its message has the place.
fn place_of(text: &[u8], violation: &Violation) -> Position {
    let numbers = violation.message.strip_prefix("not JSON: line ").filter(|_| violation.code == "bad_json");
    let numbers = numbers.and_then(|rest| rest.split_once(", column "));
    let place = numbers.and_then(|(line, column)| {
        let column: usize = column.parse().ok()?;
        Some(Position { line: line.parse().ok()?, column: column.max(1) })
    });
    place.unwrap_or_else(|| position_of(text, &violation.pointer))
}

fn check(text: &[u8], module: Option<&Path>) -> (Vec<Violation>, Vec<Violation>) {
    let checked = Connector::parse_bytes(text, &Limits::default());
    let (mut errors, mut warnings) = (checked.errors, checked.warnings);
    if let (Some(module), true) = (module, errors.is_empty()) {
        match examples(text, module) {
            Ok(found) => {
                warnings.retain(|warning| warning.code != MODULE_NOT_CHECKED);
                errors.extend(found);
            }
            Err(why) => {
                let why = format!("{}: {why}", module.display());
                errors.push(Violation::new("/runtime/module", "module_unreadable", why));
            }
        }
    }
    (errors, warnings)
}

/// Runs the examples of the actions that a module serves.
fn examples(definition: &[u8], module: &Path) -> Result<Vec<Violation>, String> {
    let bytes = std::fs::read(module).map_err(|error| error.to_string())?;
    let document = serde_json::from_slice(definition).map_err(|error| error.to_string())?;
    block_on(local::examples(&bytes, &document, Limits::default()))?
}
