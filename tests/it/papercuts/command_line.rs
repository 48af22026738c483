//! Mistakes at the command line.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::json;

use crate::support::SALESFORCE;
use crate::support::binary::{Ran, command, run};

#[test]
fn lint_reads_standard_input_folders_and_files_with_a_byte_order_mark() {
    let dir = tempfile::tempdir().unwrap();
    let lint = |text: &[u8]| {
        let mut child = command(dir.path(), &["lint", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text).unwrap();
        Ran::of(child.wait_with_output().unwrap())
    };
    assert_eq!(lint(SALESFORCE.as_bytes()).exits(0).out, "-: ok\n");
    assert!(lint(b"{").exits(1).out.contains("[bad_json]"));
    let marked = format!("\u{feff}{SALESFORCE}");
    assert_eq!(lint(marked.as_bytes()).exits(0).out, "-: ok\n");
    fs::create_dir_all(dir.path().join("all/below")).unwrap();
    fs::write(dir.path().join("all/a.json"), &marked).unwrap();
    fs::write(dir.path().join("all/below/b.json"), SALESFORCE).unwrap();
    fs::write(dir.path().join("all/notes.txt"), "no definition").unwrap();
    assert_eq!(run(dir.path(), &["lint", "all"]).exits(0).out, "all/a.json: ok\nall/below/b.json: ok\n");
    fs::create_dir(dir.path().join("none")).unwrap();
    let empty = run(dir.path(), &["lint", "none"]).exits(1);
    assert!(empty.out.contains("there is no .json file in this folder"), "{}", empty.out);
}

#[test]
fn lint_says_line_and_column_and_takes_warnings_for_errors_where_asked() {
    let dir = tempfile::tempdir().unwrap();
    let lines = [
        "{ \"$schema\": \"./definition.schema.json\",",
        "  \"connector_id\": \"demo\", \"display_name\": \"Demo\", \"auth_type\": \"none\",",
        "  \"tables\": { \"sizes\": { \"s\": \"small\" } },",
        "  \"actions\": [{ \"action_id\": \"list\", \"http_method\": \"GET\",",
        "    \"url_template\": \"https://api.example.com/\" }],",
        "  \"allowed_domains\": [\"api.example.com\"] }",
    ];
    fs::write(dir.path().join("warned.json"), lines.join("\n")).unwrap();
    let ran = run(dir.path(), &["lint", "warned.json"]).exits(0);
    let warning =
        "warned.json:3:15: warning: /tables/sizes: no filter looks into this table [table_unused]\n";
    assert_eq!(ran.out, format!("{warning}warned.json: ok\n"));
    let strict = run(dir.path(), &["lint", "--strict", "warned.json"]).exits(1);
    assert_eq!(strict.out, warning.replace("warning", "error"));
    fs::write(dir.path().join("wrong.json"), lines.join("\n").replace("\"GET\"", "\"get\"")).unwrap();
    let wrong = run(dir.path(), &["lint", "wrong.json"]).exits(1);
    assert!(wrong.out.starts_with("wrong.json:4:38: error: /actions/0/http_method: "), "{}", wrong.out);
    fs::write(dir.path().join("broken.json"), "{\n  oops }").unwrap();
    let broken = run(dir.path(), &["lint", "broken.json"]).exits(1);
    assert!(broken.out.starts_with("broken.json:2:3: error: /: not JSON"), "{}", broken.out);
    let told = &run(dir.path(), &["lint", "--json", "wrong.json"]).exits(1).json_lines()[0];
    assert_eq!((&told["errors"][0]["line"], &told["errors"][0]["column"]), (&json!(4), &json!(38)));
}

#[test]
fn explain_ends_with_1_for_a_refusal_and_judges_method_and_path_of_an_action() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("d.json"), SALESFORCE).unwrap();
    fs::write(dir.path().join("list.txt"), "login.salesforce.com\n").unwrap();
    let explain = |more: &[&str]| run(dir.path(), &[&["explain", "--definition", "d.json"], more].concat());
    let contacts = "https://api.salesforce.com/v1/contacts";
    explain(&["--url", contacts]).exits(0);
    let refused = explain(&["--url", "http://api.salesforce.com/v1/contacts"]).exits(1);
    assert_eq!(refused.json_lines()[0]["code"], "scheme_not_https");
    let refused = explain(&["--url", contacts, "--allowlist", "list.txt"]).exits(1);
    let told = "api.salesforce.com is not in the org's domain_allowlist (settings/integrations); the nearest entries are \
                login.salesforce.com";
    assert_eq!(refused.json_lines()[0]["detail"], told);
    let action = ["--action", "create-contact"];
    explain(&[&["--url", contacts], &action[..]].concat()).exits(0);
    let other =
        explain(&[&["--url", "https://api.salesforce.com/v2/contacts"], &action[..]].concat()).exits(1);
    assert_eq!(other.json_lines()[0]["code"], "path_not_granted");
    let other = explain(&[&["--url", contacts, "--method", "DELETE"], &action[..]].concat()).exits(1);
    assert_eq!(other.json_lines()[0]["code"], "method_forbidden");
    let unknown = explain(&["--url", contacts, "--action", "create-contct"]).exits(64);
    assert!(unknown.err.contains("did you mean \"create-contact\"?"), "{}", unknown.err);
}

#[test]
fn an_import_without_a_host_names_the_flag_and_backup_shows_what_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    let description = "openapi: 3.1.0\ninfo: { title: Pets, version: \"1\" }\npaths:\n  /pets:\n    get: { operationId: \
                       listPets, responses: { \"200\": { description: pets } } }\n";
    fs::write(dir.path().join("pets.yaml"), description).unwrap();
    let refused = run(dir.path(), &["import", "openapi", "pets.yaml"]).exits(1);
    assert!(refused.err.contains("pass --base-url, such as https://"), "{}", refused.err);
    let base = ["import", "openapi", "pets.yaml", "--base-url", "https://pets.example.com/v1"];
    run(dir.path(), &base).exits(0);
    let help = run(dir.path(), &["backup", "--help"]).exits(0).out;
    assert!(help.contains("--data-dir") && !help.contains("--listen") && !help.contains("--limit"), "{help}");
}
