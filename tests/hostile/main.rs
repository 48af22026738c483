//! `hostile-inputs`: made-up definitions, mappings, sources and answers, run through the code that serves calls.
//!
//! Everything that a tenant, an upstream or the author of a definition supplies costs work, and the work must be
//! bounded by the size of what they supply. Each case makes a definition and, if it is accepted, a mapping, a source
//! and answers, and takes them through checking, mapping, rendering, judging and paging. A step that panics, aborts,
//! or costs more CPU or memory than [`measure::Allowance`] permits is a finding; its seed makes the case again.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "it makes test data of its own, and fails by panicking like a test"
)]

use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

mod case;
mod definition;
mod measure;
mod random;
mod values;

/// The same as in the product, so that memory measured here is the product's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What went wrong, for people.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: hostile-inputs [--cases N | --minutes N] [--seed N]
  --cases N     how many cases [2000]
  --minutes N   for how long instead
  --seed N      of the first case; each further case has the next [1]
  --print yes   shows the definition of that seed and what is wrong with it";

struct Plan {
    cases: Option<u64>,
    duration: Option<Duration>,
    seed: u64,
    /// Whether this is the process that runs the cases, and not its parent.
    child: bool,
    /// Whether to show a case instead of running it.
    print: bool,
}

fn main() -> ExitCode {
    let plan = match parse(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(error) => return report(&error),
    };
    let outcome = if plan.print {
        print(plan.seed)
    } else if plan.child {
        run_cases(&plan)
    } else {
        watch()
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn print(seed: u64) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{}", case::shown(seed))?;
    Ok(())
}

fn report(error: &Failure) -> ExitCode {
    // Why ignored: there is no other way to report it.
    let _ = writeln!(std::io::stderr(), "hostile-inputs: {error}");
    ExitCode::FAILURE
}

fn parse(given: impl Iterator<Item = String>) -> Result<Plan, Failure> {
    let mut plan = Plan { cases: None, duration: None, seed: 1, child: false, print: false };
    let mut given = given;
    while let Some(name) = given.next() {
        if name == "--child" {
            plan.child = true;
            continue;
        }
        if name == "--print" {
            plan.print = given.next().is_some_and(|answer| answer == "yes");
            continue;
        }
        let number: u64 = given.next().ok_or(USAGE)?.parse().map_err(|_| USAGE)?;
        match name.as_str() {
            "--cases" => plan.cases = Some(number),
            "--minutes" => plan.duration = Some(Duration::from_secs(number.saturating_mul(60))),
            "--seed" => plan.seed = number,
            _ => return Err(USAGE.into()),
        }
    }
    if plan.cases.is_none() && plan.duration.is_none() {
        plan.cases = Some(2000);
    }
    Ok(plan)
}

/// Runs the cases in a process of its own: a stack overflow or an abort is a finding too, and needs a seed.
fn watch() -> Result<(), Failure> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(std::env::args().skip(1))
        .arg("--child")
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = child.stdout.take().ok_or("the child has no output")?;
    let mut last = String::new();
    for line in BufReader::new(lines).lines() {
        let line = line?;
        match line.strip_prefix("seed ") {
            Some(seed) => seed.clone_into(&mut last),
            None => writeln!(std::io::stdout(), "{line}")?,
        }
    }
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("finding: the case of --seed {last} --cases 1 ended with {status}").into())
}

fn run_cases(plan: &Plan) -> Result<(), Failure> {
    let started = Instant::now();
    let mut said = started;
    let mut done = case::Done::default();
    let mut output = std::io::stdout().lock();
    let mut seed = plan.seed;
    loop {
        let ran = seed.wrapping_sub(plan.seed);
        let enough = plan.cases.is_some_and(|cases| ran >= cases)
            || plan.duration.is_some_and(|duration| started.elapsed() >= duration);
        if enough {
            break;
        }
        writeln!(output, "seed {seed}")?;
        output.flush()?;
        case::run(seed, &mut done).map_err(|finding| format!("seed {seed}: {finding}"))?;
        seed = seed.wrapping_add(1);
        if said.elapsed() > Duration::from_secs(60) {
            said = Instant::now();
            writeln!(output, "{} s: {done}", started.elapsed().as_secs())?;
            output.flush()?;
        }
    }
    writeln!(output, "no finding in {} s: {done}", started.elapsed().as_secs())?;
    Ok(())
}
