//! `portcullis catalog`: what ships in the box, and the text of one entry.

use clap::Args;
use serde_json::Value;

use super::{DONE, FAILED, output};
use crate::catalog;

/// Arguments of `catalog`.
#[derive(Debug, Args)]
pub(super) struct CatalogArgs {
    /// Print this entry's definition, to upload or to start your own from
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Lists the catalog, or prints one definition.
pub(super) fn run(args: &CatalogArgs) -> u8 {
    let Some(id) = &args.id else {
        for entry in catalog::entries() {
            output::line(&if args.json { entry.to_string() } else { line(&entry) });
        }
        return DONE;
    };
    match catalog::definition(id) {
        Some(definition) => {
            output::line(&serde_json::to_string_pretty(&definition).unwrap_or_default());
            DONE
        }
        None => {
            output::error(&format!("the catalog has no {id:?}; `portcullis catalog` lists what it has"));
            FAILED
        }
    }
}

fn line(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let count = entry["actions"].as_array().map_or(0, Vec::len);
    let auth: Vec<&str> =
        entry["auth_types"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    format!(
        "{:<16} {:<18} {count:>2} actions  {}",
        text("connector_id"),
        text("display_name"),
        auth.join(", ")
    )
}
