//! The command line: one binary. Exit codes: 0 done, 1 refused or failed, 2 usage, 64 bad
//! configuration.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use portcullis_api::serve::runtime as serve_runtime;

use crate::config::{Config, ConfigArgs};
use crate::data_dir::Refusal;
use crate::{cautions, output};

mod backup;
mod catalog;
mod codes;
mod compact;
mod demo;
mod doctor;
mod explain;
mod fsck;
mod import;
mod init;
mod key;
mod ledger;
mod lint;
mod migrate;
mod module;
mod progress;
mod restore;
mod serve;
mod token;

/// Success.
pub(crate) const DONE: u8 = 0;
/// Refused or failed.
pub(crate) const FAILED: u8 = 1;
/// Bad configuration.
pub(crate) const BAD_CONFIG: u8 = 64;

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
    /// Create a data directory: master key, store, first platform token
    Init(init::InitArgs),
    /// Serve the API
    Serve(serve::ServeArgs),
    /// Show the whole product on this machine: no account, no internet
    Demo(demo::DemoArgs),
    /// Check connector definitions without a server
    Lint(lint::LintArgs),
    /// List the connectors that ship with the product, or print one
    Catalog(catalog::CatalogArgs),
    /// Make a draft definition from an API description
    Import(import::ImportArgs),
    /// Check URLs with the gate's own rules, without sending anything
    Explain(explain::ExplainArgs),
    /// Test forbidden addresses and a rebinding name on this machine, and check its environment
    Doctor(doctor::DoctorArgs),
    /// Make, check, pack, sign and try custom modules
    Module(module::ModuleArgs),
    /// Compile a module from standard input to standard output; `serve` starts it
    #[command(hide = true)]
    CompileModule(module::CompileArgs),
    /// Write everything to one file, beside a running server or without one
    Backup(backup::BackupArgs),
    /// Bring a backup, and those that continue it, back into a new directory
    Restore(restore::RestoreArgs),
    /// Read everything in a data directory and name what is damaged; stop the server first
    Fsck(fsck::FsckArgs),
    /// Give back the space that the store keeps after deletions; stop the server first
    Compact(compact::CompactArgs),
    /// Make a platform token without a server, such as when the first one was lost; stop the server first
    Token(token::TokenArgs),
    /// Make master keys, show what they wrap, and rotate them; see `portcullis key --help`
    Key(key::KeyCommandArgs),
    /// Bring the schema of a database to this version, or move everything between a data directory and a database
    Migrate(migrate::MigrateArgs),
    /// Work with the outbound ledger
    Ledger(ledger::LedgerArgs),
    /// Print the closed list of error codes
    Codes(codes::CodesArgs),
    /// Print every limit with its reason
    Limits(codes::CodesArgs),
}

/// Parses and runs.
#[must_use]
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let code = match cli.command {
        Command::Init(args) => init::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Catalog(args) => catalog::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Module(args) => module::run(&args),
        Command::CompileModule(args) => module::compile(&args),
        Command::Backup(args) => backup::backup(&args),
        Command::Restore(args) => restore::restore(&args),
        Command::Fsck(args) => fsck::run(&args),
        Command::Compact(args) => compact::run(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Key(args) => key::run(&args),
        Command::Ledger(args) => ledger::run(&args),
        Command::Codes(args) => codes::codes(&args),
        Command::Limits(args) => codes::limits(&args),
    };
    output::finish();
    ExitCode::from(code)
}

/// Whether standard output is a terminal, where colour and progress belong.
#[must_use]
pub(crate) fn on_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// How long threads may take to end when the work is finished.
const STOP: std::time::Duration = std::time::Duration::from_secs(2);

/// Every environment variable that some command reads.
fn known_variables() -> BTreeSet<String> {
    fn collect(command: &clap::Command, into: &mut BTreeSet<String>) {
        let variables = command.get_arguments().filter_map(clap::Arg::get_env);
        into.extend(variables.map(|name| name.to_string_lossy().into_owned()));
        command.get_subcommands().for_each(|command| collect(command, into));
    }
    let mut known = BTreeSet::new();
    collect(&Cli::command(), &mut known);
    known
}

/// The configuration of a command that works on a data directory; mistyped variables are told.
///
/// # Errors
/// Every violation at once, and the exit code for them.
fn load(args: &ConfigArgs) -> Result<Config, Refusal> {
    cautions::mistyped(&known_variables()).iter().for_each(|caution| output::warning(caution));
    Config::load(args).map_err(|errors| Refusal { code: BAD_CONFIG, reason: errors.join("\n") })
}

/// Prints what a command came to; returns its exit code.
fn told(outcome: Result<String, Refusal>) -> u8 {
    match outcome {
        Ok(text) => {
            output::line(&text);
            DONE
        }
        Err(refusal) => refused(&refusal),
    }
}

/// Prints why a command was refused; returns its exit code.
fn refused(refusal: &Refusal) -> u8 {
    refusal.reason.lines().for_each(output::error);
    refusal.code
}

/// A runtime for commands that need one.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let runtime = serve_runtime().map_err(|e| format!("the async runtime cannot start: {e}"))?;
    let done = runtime.block_on(work);
    // Why not by dropping it: that would wait for a read of any thread, however long it takes.
    runtime.shutdown_timeout(STOP);
    Ok(done)
}
