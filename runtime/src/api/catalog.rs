//! `/admin/catalog` and `/admin/connector/import`: definitions that need not be written by hand.

use axum::body::Body;
use http::Response;
use portcullis_core::fault::Code;
use portcullis_core::violation::Violation;
use portcullis_import::{ImportOptions, import as import_description};
use serde_json::{Value, json};

use super::connectors;
use super::context::{Ctx, list, ok};
use crate::catalog;
use crate::problem::Problem;

/// Lists the catalog.
pub(super) async fn index(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let (limit, after) = ctx.page()?;
    let entries = catalog::entries();
    let after = after.unwrap_or_default();
    let rest = entries.into_iter().filter(|e| e["connector_id"].as_str().is_some_and(|id| id > after));
    Ok(list(rest.take(limit + 1).collect(), limit))
}

fn find(ctx: &Ctx) -> Result<Value, Problem> {
    let missing = || Problem::new(Code::NotFound, "the catalog has no such connector");
    catalog::definition(ctx.param("id")).ok_or_else(missing)
}

/// Reads one entry's definition.
pub(super) async fn show(ctx: Ctx) -> Result<Response<Body>, Problem> {
    Ok(ok(&find(&ctx)?))
}

/// Creates the connector of an entry, as if its definition were uploaded.
pub(super) async fn install(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let definition = find(&ctx)?;
    connectors::create_from(&ctx, definition).await
}

/// Makes a draft definition from an API description. Nothing is saved.
pub(super) async fn import(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let mut body = ctx.object(&["document", "connector_id", "base_url", "only"])?;
    let mut breaches = Vec::new();
    let document = body.shift_remove("document").unwrap_or(Value::Null);
    if !document.is_object() {
        breaches.push(Violation::new("/document", "wrong_type", "document must be an OpenAPI description"));
    }
    let mut text = |name: &str| match body.shift_remove(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(_) => {
            breaches.push(Violation::new(format!("/{name}"), "wrong_type", format!("{name} must be text")));
            None
        }
    };
    let (connector_id, base_url) = (text("connector_id"), text("base_url"));
    let only = match body.shift_remove("only") {
        None | Some(Value::Null) => Vec::new(),
        Some(only) => serde_json::from_value::<Vec<String>>(only).unwrap_or_else(|_| {
            breaches.push(Violation::new("/only", "wrong_type", "only must be a list of operations"));
            Vec::new()
        }),
    };
    if !breaches.is_empty() {
        return Err(Problem::breaches(Code::ValidationFailed, breaches));
    }
    let options = ImportOptions { connector_id, base_url, only, ..ImportOptions::default() };
    // Why a thread of its own: a whole description takes longer than a request's turn may.
    let imported = tokio::task::spawn_blocking(move || import_description(&document, &options))
        .await
        .map_err(|_| Problem::plain(Code::Internal))?;
    let imported = imported.map_err(|e| {
        Problem::breaches(
            Code::ValidationFailed,
            vec![Violation::new("/document", "not_imported", e.to_string())],
        )
    })?;
    Ok(ok(&json!({ "definition": imported.definition, "report": imported.report })))
}
