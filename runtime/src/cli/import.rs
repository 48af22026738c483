//! `portcullis import openapi`: an API description in, a draft definition and a report out.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use portcullis_core::limits::Limits;
use portcullis_import::{ImportOptions, Imported, import, read};
use serde_json::json;

use super::{DONE, FAILED};
use crate::output;

/// Arguments of `import`.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// An OpenAPI description: 2.0, 3.0 or 3.1, JSON or YAML
    Openapi(OpenapiArgs),
}

/// Arguments of `import openapi`.
#[derive(Debug, Args)]
struct OpenapiArgs {
    /// The description
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write the draft to this file [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Id of the connector [default: made from the title]
    #[arg(long, value_name = "ID")]
    connector_id: Option<String>,
    /// Base URL of the API, such as https://api.example.com/v1 [default: the description's own server]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Only these operations: an operationId or `METHOD /path`, `*` stands for any text; may be repeated
    #[arg(long, value_name = "OPERATION")]
    only: Vec<String>,
    /// The report as JSON
    #[arg(long)]
    json: bool,
}

/// Imports a description.
pub(super) fn run(args: &ImportArgs) -> u8 {
    let From::Openapi(args) = &args.from;
    match openapi(args) {
        Ok(()) => DONE,
        Err(e) => {
            output::error(&e);
            FAILED
        }
    }
}

fn openapi(args: &OpenapiArgs) -> Result<(), String> {
    let text = std::fs::read_to_string(&args.file).map_err(|e| format!("{}: {e}", args.file.display()))?;
    // Some editors write a byte order mark, which belongs to no document.
    let document = read(text.strip_prefix('\u{feff}').unwrap_or(&text)).map_err(|e| e.to_string())?;
    let options = ImportOptions {
        connector_id: args.connector_id.clone(),
        base_url: args.base_url.clone(),
        only: args.only.clone(),
        ..ImportOptions::default()
    };
    let Imported { definition, report } = import(&document, &options).map_err(|e| {
        // Why other words: the member of a request is a flag here.
        e.to_string().replace("pass base_url", "pass --base-url")
    })?;
    let mut draft = serde_json::to_string_pretty(&definition).map_err(|e| e.to_string())?;
    // Why: its blanks could make it more than an upload may have.
    if draft.len() as u64 >= Limits::default().api_body_bytes {
        draft = definition.to_string();
    }
    match &args.output {
        Some(file) => std::fs::write(file, draft + "\n").map_err(|e| format!("{}: {e}", file.display()))?,
        None => output::line(&draft),
    }
    // Why standard error: standard output is for the draft.
    if args.json {
        output::note(&json!(report).to_string());
        return Ok(());
    }
    let operations = &report.operations;
    output::note(&format!(
        "{} of {} operations carried; {} things were not",
        operations.carried,
        operations.total,
        report.items.len()
    ));
    for item in &report.items {
        output::note(&format!("{}: {} [{}]", item.pointer, item.message, item.code));
    }
    Ok(())
}
