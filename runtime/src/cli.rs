//! The command line: one binary. Exit codes: 0 done, 1 refused or failed, 2 usage, 64 bad
//! configuration.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod backup;
mod catalog;
mod codes;
mod doctor;
mod explain;
mod import;
mod init;
mod ledger;
mod lint;
pub mod output;
mod serve;

/// Done.
pub const DONE: u8 = 0;
/// Refused or failed.
pub const FAILED: u8 = 1;
/// Bad configuration.
pub const BAD_CONFIG: u8 = 64;

/// Calls other companies' APIs on behalf of many tenants.
///
/// Connectors are JSON, run in a WebAssembly sandbox, and leave through one guarded gate.
/// Start with `portcullis demo`; then `portcullis init` and `portcullis serve`.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a data directory: master key, store, first platform token
    Init(init::InitArgs),
    /// Serve the API
    Serve(serve::ServeArgs),
    /// Tell the whole story on this machine: no account, no internet
    Demo(crate::demo::DemoArgs),
    /// Check connector definitions without a server
    Lint(lint::LintArgs),
    /// List the connectors that ship with the product, or print one
    Catalog(catalog::CatalogArgs),
    /// Make a draft definition from an API description
    Import(import::ImportArgs),
    /// Judge URLs by the gate's own verdict, without sending anything
    Explain(explain::ExplainArgs),
    /// Try the forbidden addresses and a rebinding name on this machine, and look around
    Doctor(doctor::DoctorArgs),
    /// Write the store to one file; stop the server first
    Backup(backup::BackupArgs),
    /// Put a backup in the store's place; stop the server first
    Restore(backup::BackupArgs),
    /// Work with the outbound ledger
    Ledger(ledger::LedgerArgs),
    /// Print the closed list of error codes
    Codes(codes::CodesArgs),
    /// Print every limit with its reason
    Limits(codes::CodesArgs),
}

/// Parses and runs.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let code = match cli.command {
        Command::Init(args) => init::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => crate::demo::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Catalog(args) => catalog::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Backup(args) => backup::backup(&args),
        Command::Restore(args) => backup::restore(&args),
        Command::Ledger(args) => ledger::run(&args),
        Command::Codes(args) => codes::codes(&args),
        Command::Limits(args) => codes::limits(&args),
    };
    ExitCode::from(code)
}

/// Whether standard output is a terminal, where colour and progress belong.
#[must_use]
pub fn on_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// How long threads may take to end once the work is done.
const STOP: std::time::Duration = std::time::Duration::from_secs(2);

/// Prints configuration errors; the exit code that goes with them.
fn bad_config(errors: &[String]) -> u8 {
    for error in errors {
        output::error(error);
    }
    BAD_CONFIG
}

/// A runtime for commands that need one.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let runtime = crate::serve::runtime().map_err(|e| format!("the async runtime cannot start: {e}"))?;
    let done = runtime.block_on(work);
    // Why not by dropping it: that waits for whatever a thread is reading, however long.
    runtime.shutdown_timeout(STOP);
    Ok(done)
}
