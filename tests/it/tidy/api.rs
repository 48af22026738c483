//! How the API is written: types and no loose JSON, nothing of the store, short functions.

use super::shape::functions;
use super::{Source, sources};

const API: &str = "runtime/crates/api";
const ENGINE: &str = "runtime/crates/engine";

/// Where JSON is written without a type: file, and why there.
const LOOSE_JSON: &[(&str, &str)] = &[
    ("runtime/crates/api/src/openapi.rs", "the OpenAPI document has no type of its own"),
    (
        "runtime/crates/engine/src/call/retry_loop/stale.rs",
        "an answer that counts as failed, in the open form in which guests give theirs",
    ),
];

/// Members of answers that are any JSON, and why.
const OPEN_MEMBERS: &[(&str, &str)] = &[
    ("AutomationDocument.entry_conditions", "a predicate as the org wrote it, checked by its own reader"),
    ("AutomationDocument.sample", "an event as the org wrote it"),
    ("CatalogDefinition.0", "a definition: the document shows its schema"),
    ("ImportResult.definition", "a draft, which may still break rules of definitions"),
    ("ConnectorDocument.definition", "a definition as it was uploaded: the document shows its schema"),
    ("ActionInput.default", "a value of the input's type, which the definition names"),
    ("ActionInput.r#enum", "values of the input's type"),
    ("ActionInput.example", "a value of the input's type"),
    ("EventBody.source", "the event as its caller sent it; written to be compared with a repeat"),
    ("PreviewDocument.input", "what the org's mapping makes for the action"),
    ("DryRequest.body", "JSON where the body is JSON, else its text"),
    ("RunDocument.output", "what the action gives, as the guest wrote it"),
    ("RunDocument.error", "what the definition's rules read from the third party's error"),
    ("Upstream.headers", "the third party's"),
    ("Upstream.body", "the third party's"),
    ("StoredRun.error", "what the definition's rules read from the third party's error"),
];

/// Stores and logs by name: only the store and who opens it know which there are.
const BACKENDS: &[&str] = &[
    "FileLedger",
    "FileRuns",
    "SledStore",
    "MemoryStore",
    "MemoryLedger",
    "MemoryRuns",
    "RecordJobs",
    "RecordOutbox",
];

/// Longest function of the API's handlers.
const HANDLER_LINES_MAX: usize = 25;

fn product_with(folders: &[&str], text: &str) -> Vec<String> {
    let found = sources(folders).into_iter().filter(|source| source.product().contains(text));
    found.map(|source| source.path).collect()
}

#[test]
fn json_has_a_type_wherever_it_can_have_one() {
    let listed: Vec<&str> = LOOSE_JSON.iter().map(|(path, _)| *path).collect();
    assert_eq!(product_with(&[API, ENGINE], "json!"), listed);
}

#[test]
fn the_api_never_names_the_store() {
    assert_eq!(product_with(&[API], "portcullis_store"), [""; 0]);
    assert!(
        !product_with(&[ENGINE], "portcullis_store").is_empty(),
        "the same look finds it where it belongs"
    );
}

#[test]
fn only_the_store_knows_which_stores_there_are() {
    for backend in BACKENDS {
        let found = product_with(&["runtime", "connectors", "guest-sdk"], backend);
        let outside: Vec<_> = found.iter().filter(|path| !path.starts_with("runtime/crates/store")).collect();
        assert!(outside.is_empty(), "{backend} in {outside:?}");
        assert!(!found.is_empty(), "{backend} is gone; fix the list");
    }
}

#[test]
fn every_function_of_the_handlers_is_short() {
    let mut seen = 0;
    for source in sources(&["runtime/crates/api/src/v1"]) {
        for (name, lines) in functions(source.product()) {
            seen += 1;
            assert!(lines <= HANDLER_LINES_MAX, "{}: {name} has {lines} lines", source.path);
        }
    }
    assert!(seen > 80, "functions were found: {seen}");
}

#[test]
fn a_member_of_an_answer_is_any_json_only_where_a_reason_is_given() {
    let mut answers = sources(&["runtime/crates/api/src/v1"]);
    answers.extend(
        sources(&["runtime/crates/engine/src/call/run"]).into_iter().filter(|s| s.path.contains("/document")),
    );
    let found: Vec<String> = answers.iter().flat_map(open_members).collect();
    let listed: Vec<&str> = OPEN_MEMBERS.iter().map(|(member, _)| *member).collect();
    assert_eq!(found, listed);
}

/// Members of the structs that serde writes whose type is any JSON, in the order of the source.
fn open_members(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = source.product().lines();
    while let Some(line) = lines.next() {
        if !(line.starts_with("#[derive(") && line.contains("Serialize")) {
            continue;
        }
        let Some(head) = lines.by_ref().find(|line| !line.starts_with("#[")) else { break };
        let Some(name) = head.split_once("struct ").map(|(_, rest)| rest) else { continue };
        let (name, rest) = name.split_once(|c: char| !c.is_alphanumeric()).unwrap_or((name, ""));
        if head.ends_with(';') {
            found.extend(is_open(rest).then(|| format!("{name}.0")));
            continue;
        }
        for member in lines.by_ref().take_while(|line| *line != "}") {
            let member = member.trim();
            let declared = !member.starts_with(['/', '#']);
            if let Some((member, of)) = member.split_once(": ").filter(|_| declared) {
                let member = member.trim_start_matches("pub(crate) ").trim_start_matches("pub ");
                found.extend(is_open(of).then(|| format!("{name}.{member}")));
            }
        }
    }
    found
}

/// Whether a type is, or holds, any JSON.
fn is_open(of: &str) -> bool {
    of.split(|c: char| !c.is_alphanumeric()).any(|word| ["Value", "RawValue", "Open"].contains(&word))
}

#[test]
fn the_look_for_open_members_sees_each_form() {
    let text = "#[derive(Debug, Serialize)]\n#[serde(x)]\npub(crate) struct A<'a> {\n    /// b: Value\n    \
        pub b: Option<Value>,\n    c: String,\n    d: Map<String, Value>,\n}\n\n#[derive(Deserialize)]\n\
        struct Not {\n    a: Value,\n}\n#[derive(Serialize)]\nstruct B(Value);\n";
    let source = Source { path: "a.rs".to_owned(), text: text.to_owned() };
    assert_eq!(open_members(&source), ["A.b", "A.d", "B.0"]);
}
