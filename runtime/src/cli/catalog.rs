//! `portcullis catalog`: the definitions that are part of the product, and the text of one entry.

use clap::Args;
use serde_json::{Value, json};

use super::{DONE, FAILED};
use crate::output;
use portcullis_engine::catalog::{self, CatalogEntry};

/// Arguments of `catalog`.
#[derive(Debug, Args)]
pub(super) struct CatalogArgs {
    /// Print this entry's definition, to upload it or to start your own from it
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

/// Lists the catalog, or prints one definition.
pub(super) fn run(args: &CatalogArgs) -> u8 {
    let Some(id) = &args.id else {
        for entry in catalog::entries() {
            output::line(&if args.json { json(&entry).to_string() } else { line(&entry) });
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

fn line(entry: &CatalogEntry) -> String {
    let CatalogEntry { connector_id, display_name, actions, auth_types, auth_methods, .. } = entry;
    let default = auth_types.first().map(String::as_str);
    let methods: Vec<&str> = default.into_iter().chain(auth_methods.iter().map(String::as_str)).collect();
    let (count, auth) = (actions.len(), methods.join(", "));
    format!("{connector_id:<16} {display_name:<18} {count:>2} actions  {auth}")
}

fn json(entry: &CatalogEntry) -> Value {
    json!({
        "connector_id": entry.connector_id, "display_name": entry.display_name,
        "version": entry.version, "description": entry.description,
        "categories": entry.categories, "docs_url": entry.docs_url,
        "auth_types": entry.auth_types, "auth_methods": entry.auth_methods, "actions": entry.actions,
        "allowed_domains": entry.allowed_domains,
    })
}
