//! `vendor-judge`: checks the catalog against the vendors' own API descriptions.
//!
//! For each description that has a catalog entry it starts a mock server made from it, runs every
//! action's examples through the whole product into that server, and prints a table; see `README.md`.
//! The descriptions and the mock server come from outside the repository, so `make test` does not run it.

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod description;
mod front;
mod judge;
mod mock;
mod sample;
mod table;

/// The integration tests' product in this process, and their client.
#[path = "../it"]
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "the tests' own modules, of which this program uses a part"
)]
mod it {
    pub(crate) mod support;
}

use it::support;

/// What went wrong, for people.
type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: vendor-judge --descriptions DIR [--definitions DIR] \
                     [--prism DIR_WITH_node_modules] [--only ID,ID]";

struct Arguments {
    descriptions: PathBuf,
    /// Where the judged definitions are; the catalog's own directory if not said.
    definitions: PathBuf,
    prism: PathBuf,
    only: Option<Vec<String>>,
}

impl Arguments {
    fn parse(given: impl IntoIterator<Item = String>) -> Result<Self, Failure> {
        let (mut descriptions, mut prism, mut only) = (None, PathBuf::from("."), None);
        let mut definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../connectors/definitions");
        let mut given = given.into_iter();
        while let Some(name) = given.next() {
            let value = given.next().filter(|value| !value.is_empty()).ok_or(USAGE)?;
            match name.as_str() {
                "--descriptions" => descriptions = Some(PathBuf::from(value)),
                "--definitions" => definitions = PathBuf::from(value),
                "--prism" => prism = PathBuf::from(value),
                "--only" => only = Some(value.split(',').map(str::to_owned).collect()),
                _ => return Err(USAGE.into()),
            }
        }
        let descriptions = descriptions.ok_or(USAGE)?;
        Ok(Self { descriptions, definitions, prism: std::fs::canonicalize(prism)?, only })
    }

    /// The descriptions, by id.
    fn files(&self) -> Result<Vec<(String, PathBuf)>, Failure> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.descriptions)? {
            let path = entry?.path();
            let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let wanted = self.only.as_ref().is_none_or(|only| only.contains(&id));
            if wanted && path.extension().is_some_and(|extension| extension == "json") {
                files.push((id, path));
            }
        }
        files.sort();
        let missing = self.only.iter().flatten().find(|id| !files.iter().any(|(found, _)| found == *id));
        match missing {
            Some(id) => Err(format!("no description of {id} in {}", self.descriptions.display()).into()),
            None => Ok(files),
        }
    }
}

fn main() -> ExitCode {
    let judged = Arguments::parse(std::env::args().skip(1)).and_then(|arguments| {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(&arguments))
    });
    match judged {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            // Why ignored: standard error is closed, and there is no other way to report it.
            let _ = writeln!(std::io::stderr(), "vendor-judge: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Judges one entry after the other, because each mock server needs much memory; returns whether all are right.
async fn run(arguments: &Arguments) -> Result<bool, Failure> {
    let mut out = std::io::stdout();
    let (mut entries, mut failed, mut total) = (0, 0_usize, (0, 0, 0));
    for (id, file) in arguments.files()? {
        let Ok(definition) = std::fs::read_to_string(arguments.definitions.join(format!("{id}.json"))) else {
            writeln!(out, "{id}: no definition; skipped\n")?;
            continue;
        };
        entries += 1;
        match judge::judge(&arguments.prism, &file, &definition).await {
            Ok(verdict) => {
                let counts = verdict.counts();
                // Why: a description without any of the entry's operations proves nothing about it.
                failed += usize::from(counts.0 == counts.1);
                total = (total.0 + counts.0, total.1 + counts.1, total.2 + counts.2);
                writeln!(out, "{verdict}")?;
            }
            Err(failure) => {
                failed += 1;
                writeln!(out, "{id}: WRONG {failure}\n")?;
            }
        }
    }
    let (rows, not_described, wrong) = total;
    let judged = rows - not_described;
    writeln!(
        out,
        "{entries} entries, {failed} not judged; {judged} of {rows} requests judged, \
         {not_described} not described, {wrong} wrong"
    )?;
    Ok(entries > 0 && failed == 0 && wrong == 0)
}
