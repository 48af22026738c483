//! Documents that are made from the code and kept in the repository: they are what the code says.
//! Run the tests with `UPDATE_DOCS=1` to write them anew.

use serde_json::Value;

use super::root;

fn assert_fresh(path: &str, made: &Value) {
    let made = format!("{}\n", serde_json::to_string_pretty(made).unwrap());
    let file = root().join(path);
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = kept.lines().zip(made.lines()).position(|(a, b)| a != b);
    assert!(kept == made, "{path} is stale from line {differs:?} on; run the tests with UPDATE_DOCS=1");
}

#[test]
fn the_openapi_document_is_what_the_routes_say() {
    assert_fresh("docs/openapi.json", &portcullis::api::openapi::document());
}

#[test]
fn the_definition_schema_is_what_uploads_are_checked_against() {
    assert_fresh("docs/definition.schema.json", &portcullis_core::definition::schema());
}
