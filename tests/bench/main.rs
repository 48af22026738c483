//! `portcullis-bench`: what the sandbox, the checks and the ledger cost, against the same call without them.
//!
//! The parent generates load; an upstream behind TLS, the baseline and the product are its children,
//! so that the CPU of each is counted separately. `docs/performance.md` explains the figures.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

mod baseline;
mod children;
mod compare;
mod guests;
mod later;
mod load;
mod nodes;
mod parts;
mod pressure;
mod product;
mod report;
mod sample;
mod scale;
mod setup;
mod soak;
mod upstream;
mod vendors;

/// The same as in the product's own binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What went wrong, for people.
type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: portcullis-bench [--seconds N] [--rounds N] [--only GROUP,GROUP] [--out FILE]
  --seconds N   length of one measurement [2]
  --rounds N    how often baseline and product alternate [5]
  --only LIST   of: throughput, guest, ready, memory, overload, neighbour, async, vendors, guests, drain, scale, nodes,
                soak [all but soak, which takes its time; nodes needs PostgreSQL]
  --module FILE   the hostile module of tests/guests, for the group guests; without it that is left out
  --connections N   compare at 1, 32 or 256 alone
  --calls N     calls that wait at once in the memory probe [9000]
  --connectors N   connectors of the scale probe, each with ten credentials [10000]
  --minutes N   length of the soak [20]
  --out FILE    where the figures go as JSON [target/bench/summary.json]";

/// `--name value` pairs.
pub(crate) struct Arguments(HashMap<String, String>);

impl Arguments {
    fn parse(given: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut pairs = HashMap::new();
        let mut given = given;
        while let Some(name) = given.next() {
            let name = name.strip_prefix("--").ok_or(USAGE)?.to_owned();
            pairs.insert(name, given.next().ok_or(USAGE)?);
        }
        Ok(Self(pairs))
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, Failure> {
        self.text(name).ok_or_else(|| format!("--{name} is missing\n{USAGE}").into())
    }

    pub(crate) fn number(&self, name: &str, default: u64) -> Result<u64, Failure> {
        match self.text(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("--{name} takes a whole number").into()),
        }
    }
}

fn main() -> ExitCode {
    let outcome = run();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Why ignored: there is no other way to report it.
            let _ = writeln!(std::io::stderr(), "portcullis-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut given = std::env::args().skip(1).peekable();
    let role = given.next_if(|first| !first.starts_with("--"));
    if role.as_deref() == Some("help") || given.peek().is_some_and(|first| first == "--help") {
        return print(USAGE);
    }
    let arguments = Arguments::parse(given)?;
    let runtime = match role.as_deref() {
        // Why one thread: the load must not take processor time from what it measures.
        None => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        Some("product") => portcullis_api::serve::runtime()?,
        Some(_) => tokio::runtime::Builder::new_multi_thread().enable_all().build()?,
    };
    runtime.block_on(async {
        match role.as_deref() {
            None => compare::run(&arguments).await,
            Some("upstream") => upstream::run(&arguments).await,
            Some("baseline") => baseline::run(&arguments).await,
            Some("product") => product::run(&arguments).await,
            Some(_) => Err(USAGE.into()),
        }
    })
}

/// One line for the person who waits.
pub(crate) fn print(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
