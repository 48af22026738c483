//! `portcullis module`: the tools of people who write modules. No server and no data directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use portcullis_core::definition::ProfileDef;
use portcullis_core::limits::Limits;
use portcullis_engine::modules::{ModuleParts, ModuleRules};
use portcullis_sandbox::{CompilerBounds, ModuleReport, compile_stdin, inspect};
use portcullis_store::ModuleBytes;
use serde_json::json;

use super::{DONE, FAILED};
use crate::output;

mod new;
mod pack;
mod run;
mod sign;

/// Arguments of `module`.
#[derive(Debug, Args)]
pub(super) struct ModuleArgs {
    #[command(subcommand)]
    command: ModuleCommand,
}

#[derive(Debug, Subcommand)]
enum ModuleCommand {
    /// Write a working module into an empty folder: source, SDK, test, definition
    New(new::NewArgs),
    /// Make one call in the sandbox on this machine, with recorded answers or as a dry run
    Run(run::RunArgs),
    /// Say what a component is, and why it would be refused: the report of an upload, without a server
    Check(CheckArgs),
    /// Encode a core module (wasm32-unknown-unknown) as a component
    Pack(PackArgs),
    /// Sign a module for installations that take signed ones only
    Sign(sign::SignArgs),
}

/// Arguments of `module check`.
#[derive(Debug, Args)]
struct CheckArgs {
    /// The component
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The largest profile that it may need: pure, or std where the platform has modules.allow_std
    #[arg(long, value_name = "PROFILE", default_value = "pure", value_parser = profile)]
    profile: ProfileDef,
    /// The report as JSON
    #[arg(long)]
    json: bool,
}

fn profile(text: &str) -> Result<ProfileDef, String> {
    let known = [ProfileDef::Pure, ProfileDef::Std].into_iter().find(|profile| profile.as_str() == text);
    known.ok_or_else(|| "pure or std".to_owned())
}

/// Arguments of `module pack`.
#[derive(Debug, Args)]
struct PackArgs {
    /// The core module
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the component goes [default: the same name with .component.wasm]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Arguments of the compiling process.
#[derive(Debug, Args)]
pub(super) struct CompileArgs {
    #[arg(long)]
    memory_bytes: u64,
    #[arg(long)]
    address_bytes: u64,
    #[arg(long)]
    cpu_seconds: u64,
}

/// Where a server keeps its modules, and what compiles them: this program.
pub(super) fn module_parts(bytes: Arc<dyn ModuleBytes>, rules: ModuleRules) -> ModuleParts {
    // Why not an error here: without modules nothing is compiled, and an upload says what is missing.
    let compiler = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("portcullis"));
    ModuleParts { bytes, compiler, rules }
}

/// Runs the subcommand.
pub(super) fn run(args: &ModuleArgs) -> u8 {
    match &args.command {
        ModuleCommand::New(args) => new::run(args),
        ModuleCommand::Run(args) => run::run(args),
        ModuleCommand::Check(args) => check(args),
        ModuleCommand::Pack(args) => pack(args),
        ModuleCommand::Sign(args) => sign::run(args),
    }
}

/// Compiles what comes through standard input.
pub(super) fn compile(args: &CompileArgs) -> u8 {
    let CompileArgs { memory_bytes, address_bytes, cpu_seconds } = *args;
    match compile_stdin(CompilerBounds { memory_bytes, address_bytes, cpu_seconds }) {
        Ok(()) => DONE,
        Err(why) => {
            output::error(&why);
            FAILED
        }
    }
}

fn failed(file: &Path, why: impl std::fmt::Display) -> u8 {
    output::error(&format!("{}: {why}", file.display()));
    FAILED
}

fn check(args: &CheckArgs) -> u8 {
    let bytes = match std::fs::read(&args.file) {
        Ok(bytes) => bytes,
        Err(error) => return failed(&args.file, error),
    };
    let report = inspect(&bytes, args.profile, &Limits::default());
    if args.json {
        output::line(&json!(report).to_string());
    } else {
        told(&report);
    }
    if report.problems.is_empty() { DONE } else { FAILED }
}

fn told(report: &ModuleReport) {
    let list = |names: &[String]| if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    output::line(&format!("digest   {}", report.digest));
    output::line(&format!(
        "size     {} bytes, memory from {} bytes, tables from {} elements",
        report.bytes, report.memory_min_bytes, report.table_min
    ));
    output::line(&format!("imports  {}", list(&report.imports)));
    output::line(&format!("exports  {}", list(&report.exports)));
    output::line(&format!("profile  {}", report.profile.map_or("none", |profile| profile.as_str())));
    output::line(&format!("made by  {}", report.toolchain.as_deref().unwrap_or("unknown tools")));
    for problem in &report.problems {
        output::error(&format!("{}: {}", problem.code, problem.message));
        output::error(&format!("  mend: {}", problem.mend));
    }
    if report.problems.is_empty() {
        output::line("ok: it can be uploaded");
    }
}

fn pack(args: &PackArgs) -> u8 {
    let packed = std::fs::read(&args.file).map_err(|error| error.to_string()).and_then(|bytes| {
        pack::component(&bytes).map_err(|error| {
            format!(
                "it cannot be packed: {error:#}; build it with the SDK and --target wasm32-unknown-unknown"
            )
        })
    });
    let component = match packed {
        Ok(component) => component,
        Err(why) => return failed(&args.file, why),
    };
    let to = args.output.clone().unwrap_or_else(|| args.file.with_extension("component.wasm"));
    if let Err(error) = std::fs::write(&to, &component) {
        return failed(&to, error);
    }
    output::line(&format!("wrote {} ({} bytes)", to.display(), component.len()));
    let report = inspect(&component, ProfileDef::Pure, &Limits::default());
    told(&report);
    if report.problems.is_empty() { DONE } else { FAILED }
}
