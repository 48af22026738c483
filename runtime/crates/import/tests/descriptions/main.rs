//! Whole descriptions: what their operations require is in the draft by its wire name, and every draft is a
//! definition without errors.
//!
//! This reads the descriptions on its own: its references, `allOf` and media types share no code with the import,
//! so that a mistake there is not made here again. `PORTCULLIS_DESCRIPTIONS` names a directory with descriptions of
//! vendors; `.ci/run` fetches some. Without it only the small ones here are read.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::io::Write as _;
use std::path::PathBuf;

use portcullis_core::connector::Connector;
use portcullis_core::limits::Limits;
use portcullis_import::{ImportError, ImportOptions, Imported, import, read};
use serde_json::{Value, json};

mod compare;
mod described;

use compare::Comparison;

fn small() -> Vec<(String, Value)> {
    let schema = json!({ "type": "object", "required": ["name"], "properties": {
        "name": { "type": "string" }, "tags": { "type": "array", "items": { "type": "string" } } } });
    let parameters = json!([
        { "name": "id", "in": "path", "required": true, "type": "string", "schema": { "type": "string" } },
        { "name": "q", "in": "query", "required": true, "type": "string", "schema": { "type": "string" } },
    ]);
    let mut with_body = parameters.as_array().unwrap().clone();
    with_body.push(json!({ "name": "body", "in": "body", "required": true, "schema": schema }));
    let info = json!({ "title": "Things", "version": "1" });
    let server = json!([{ "url": "https://api.example-saas.com/v1" }]);
    let body = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    let swagger = json!({ "swagger": "2.0", "info": info, "host": "api.example-saas.com",
        "paths": { "/a/{id}": { "get": { "parameters": parameters }, "post": { "parameters": with_body } } } });
    let openapi = json!({ "openapi": "3.1.0", "info": info, "servers": server,
        "paths": { "/a/{id}": { "parameters": parameters, "get": {}, "post": { "requestBody": body } } } });
    vec![("2.0".to_owned(), swagger), ("3.1".to_owned(), openapi)]
}

/// Descriptions from outside.
#[allow(clippy::disallowed_methods, reason = "the directory is named by the environment")]
fn files() -> Vec<PathBuf> {
    let Some(directory) = std::env::var_os("PORTCULLIS_DESCRIPTIONS").map(PathBuf::from) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "json" || e == "yaml" || e == "yml"));
    files.sort();
    assert!(!files.is_empty(), "{} has no description", directory.display());
    files
}

#[derive(Default)]
struct Sum {
    files: usize,
    refused: Vec<String>,
    operations: usize,
    carried: usize,
    names: usize,
    misses: Vec<String>,
    unsound: Vec<String>,
}

impl Sum {
    fn add(&mut self, name: &str, document: &Value) {
        self.files += 1;
        let mut options = ImportOptions::default();
        let mut imported = import(document, &options);
        if matches!(imported, Err(ImportError::BaseUrl(_))) {
            // Why: many descriptions name no server that can be reached; a person would give it.
            options.base_url = Some("https://api.example-saas.com".to_owned());
            imported = import(document, &options);
        }
        let Imported { definition, report } = match imported {
            Ok(imported) => imported,
            // Why no fault: a description may have nothing that a connector may do. It is printed.
            Err(
                error @ (ImportError::NoOperation { .. }
                | ImportError::NotADescription
                | ImportError::Version(_)),
            ) => {
                self.refused.push(format!("{name}: {error}"));
                return;
            }
            Err(error) => panic!("{name}: {error}"),
        };
        let checked = Connector::parse(&definition, &Limits::default());
        self.unsound.extend(checked.errors.iter().take(3).map(|e| format!("{name}: {e:?}")));
        for item in &report.items {
            assert!(document.pointer(&item.pointer).is_some(), "{name}: {item:?} points nowhere");
        }
        let operations = &report.operations;
        assert_eq!(operations.total, operations.carried + operations.left_out, "{name}");
        assert_eq!(definition["actions"].as_array().unwrap().len(), operations.carried, "{name}");
        let compared = Comparison::of(document, &definition, &report);
        self.operations += report.operations.total;
        self.carried += report.operations.carried;
        self.names += compared.names;
        self.misses.extend(compared.misses.into_iter().map(|miss| format!("{name}: {miss}")));
    }
}

#[test]
fn what_operations_require_is_in_the_draft_by_name() {
    let mut sum = Sum::default();
    for (name, document) in small() {
        sum.add(&name, &document);
        assert_eq!(sum.refused, Vec::<String>::new());
    }
    for file in files() {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        match read(&text) {
            Ok(document) => sum.add(&name, &document),
            Err(error) => sum.refused.push(format!("{name}: {error}")),
        }
    }
    let mut out = std::io::stdout();
    for line in sum.refused.iter().chain(&sum.unsound).chain(&sum.misses) {
        writeln!(out, "{line}").unwrap();
    }
    let (refused, misses, unsound) = (sum.refused.len(), sum.misses.len(), sum.unsound.len());
    writeln!(
        out,
        "{} files, {refused} without a draft; {} operations, {} carried; {} required names compared, {misses} \
         missed; {unsound} errors in drafts",
        sum.files, sum.operations, sum.carried, sum.names,
    )
    .unwrap();
    assert_eq!((misses, unsound), (0, 0), "printed above");
}

#[test]
fn the_comparison_sees_what_is_lost() {
    for (name, document) in small() {
        let Imported { mut definition, report } = import(&document, &ImportOptions::default()).unwrap();
        let missed = |definition: &Value| Comparison::of(&document, definition, &report).misses.len();
        assert_eq!(missed(&definition), 0, "{name}");
        for (pointer, other) in [
            ("/actions/0/body_schema/0/required", json!(false)),
            ("/actions/0/body_schema/1/name", json!("Q")),
            ("/actions/0/body_schema", json!([])),
            ("/actions/1/body_schema/2/name", json!("title")),
            ("/actions/0/http_method", json!("PUT")),
            ("/actions/1/url_template", json!("https://api.example-saas.com/v1/b/{{input.id}}")),
            ("/actions", json!([])),
        ] {
            let kept = std::mem::replace(definition.pointer_mut(pointer).unwrap(), other);
            assert_ne!(missed(&definition), 0, "{name} {pointer}");
            *definition.pointer_mut(pointer).unwrap() = kept;
        }
    }
}
