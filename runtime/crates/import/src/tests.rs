//! Whole imports of small descriptions.

use portcullis_core::connector::Connector;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use crate::{ImportError, ImportOptions, Imported, import};

mod bodies;
mod credentials;
mod drafts;
mod field_credentials;
mod field_drafts;
mod field_requests;
mod hostile;
mod parameters;

/// A 3.0 description of these paths at `https://api.example.com/v1`.
fn document(paths: &Value) -> Value {
    json!({
        "openapi": "3.0.3",
        "info": { "title": "Example API", "version": "1" },
        "servers": [{ "url": "https://api.example.com/v1" }],
        "paths": paths,
    })
}

/// A 2.0 description of these paths at `https://api.example.com/v1`.
fn swagger(paths: &Value) -> Value {
    json!({
        "swagger": "2.0",
        "info": { "title": "Example API", "version": "1" },
        "host": "api.example.com", "basePath": "/v1", "schemes": ["https"],
        "paths": paths,
    })
}

/// Imports, and proves that the draft is a definition without errors.
fn run(document: &Value) -> Imported {
    let imported = import(document, &ImportOptions::default()).unwrap();
    check_draft(&imported);
    imported
}

fn check_draft(imported: &Imported) {
    let checked = Connector::parse(&imported.definition, &Limits::default());
    assert!(checked.errors.is_empty(), "{:?}", checked.errors);
}

fn refused(document: &Value) -> ImportError {
    import(document, &ImportOptions::default()).unwrap_err()
}

/// The only action of a description with one operation.
fn action(document: &Value) -> (Value, Vec<&'static str>) {
    let imported = run(document);
    assert_eq!(imported.definition["actions"].as_array().unwrap().len(), 1);
    (imported.definition["actions"][0].clone(), codes(&imported))
}

fn codes(imported: &Imported) -> Vec<&'static str> {
    // How an operation is named, and what is never carried, is tested once.
    let said_of_all = ["action_id_made", "never_carried"];
    imported.report.items.iter().map(|i| i.code).filter(|code| !said_of_all.contains(code)).collect()
}

/// Every pointer of a report must lead somewhere.
fn check_pointers(document: &Value, imported: &Imported) {
    for item in &imported.report.items {
        assert!(document.pointer(&item.pointer).is_some(), "{item:?}");
    }
}
