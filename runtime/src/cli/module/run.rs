//! `portcullis module run`: one call on this machine, in the real sandbox, with recorded answers or none.

use std::path::{Path, PathBuf};

use clap::Args;
use portcullis_core::limits::Limits;
use portcullis_engine::modules::local::{self, Tried};
use portcullis_sandbox::LogLine;
use serde_json::{Map, Value};

use super::failed;
use crate::cli::{DONE, FAILED, block_on};
use crate::output;

/// Arguments of `module run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The component
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The connector's definition
    #[arg(long, value_name = "FILE")]
    definition: PathBuf,
    /// The action
    #[arg(long, value_name = "ID")]
    action: String,
    /// Its input, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    input: String,
    /// Config values of the connection, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    config: String,
    /// Recorded exchanges, as in the definition's examples; without it the first request is shown and nothing answers
    #[arg(long, value_name = "FILE")]
    exchanges: Option<PathBuf>,
}

/// Runs the call and shows requests, lines and result.
pub(super) fn run(args: &RunArgs) -> u8 {
    let tried = read(args).and_then(|call| {
        let limits = Limits::default();
        block_on(async move { local::call(&call, limits).await }).and_then(|tried| tried)
    });
    match tried {
        Ok(tried) => show(&tried),
        Err(why) => failed(&args.file, why),
    }
}

fn read(args: &RunArgs) -> Result<local::Call, String> {
    let bytes = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let document = |path: &Path| {
        let text = bytes(path)?;
        serde_json::from_slice::<Value>(&text).map_err(|error| format!("{}: {error}", path.display()))
    };
    let object = |name: &str, text: &str| {
        serde_json::from_str::<Map<String, Value>>(text)
            .map_err(|error| format!("{name} is no JSON object: {error}"))
    };
    Ok(local::Call {
        module: bytes(&args.file)?,
        definition: document(&args.definition)?,
        action: args.action.clone(),
        input: object("--input", &args.input)?,
        config: object("--config", &args.config)?,
        exchanges: args.exchanges.as_deref().map(document).transpose()?,
    })
}

fn show(tried: &Tried) -> u8 {
    for request in &tried.requests {
        output::line(&format!("request  {request}"));
    }
    for LogLine { level, message } in &tried.log {
        output::line(&format!("log      {}: {message}", level.as_str()));
    }
    output::line(&format!(
        "usage    {} instructions, {} bytes of memory, {} us",
        tried.usage.fuel, tried.usage.memory_peak_bytes, tried.usage.guest_us
    ));
    match &tried.result {
        Ok(output) => {
            output::line(&format!("output   {output}"));
            DONE
        }
        Err(why) if tried.is_dry => {
            output::line(&format!("stopped  before the first answer; the module said: {why}"));
            DONE
        }
        Err(why) => {
            output::error(why);
            FAILED
        }
    }
}
