//! The README's command blocks, run in order as they stand, and the answers that it shows beside them.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::binary;

/// The sections whose blocks are run.
const FIRST: &str = "## A first connector in five minutes";
const BEHIND: &str = "## What it claims";
/// Marks the begin of a block in the output.
const MARK: char = '\u{1e}';
/// What a shown answer that needs a third party has: the README says that it is that of another server.
const OF_A_THIRD_PARTY: &str = "\"status\":\"succeeded\"";
/// From so many digits on, a word is an id, a time, a number or an address of this very run.
const DIGITS: usize = 6;

/// A block: what is typed, and what is shown of its answer.
struct Block {
    commands: String,
    shown: String,
}

/// The fenced blocks of the README, those with answers joined to the commands before them.
fn blocks(readme: &str) -> Vec<Block> {
    let (_, rest) = readme.split_once(FIRST).unwrap();
    let (section, _) = rest.split_once(BEHIND).unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    for fenced in section.split("\n```").skip(1).step_by(2) {
        let text = fenced.split_once('\n').unwrap().1;
        let typed = ["API=", "cat >", "AUTOMATION=", "call ", "portcullis "];
        if text.starts_with("$ ") {
            let (commands, shown): (Vec<&str>, Vec<&str>) =
                text.lines().partition(|line| line.starts_with("$ "));
            let commands: Vec<&str> = commands.iter().map(|line| line.trim_start_matches("$ ")).collect();
            blocks.push(Block { commands: commands.join("\n"), shown: shown.join("\n") });
        } else if typed.iter().any(|start| text.starts_with(start)) {
            blocks.push(Block { commands: text.to_owned(), shown: String::new() });
        } else {
            blocks.last_mut().unwrap().shown.push_str(text);
        }
    }
    blocks
}

/// The blocks as one script, each behind its mark. Nothing of them is changed but the port, which another test may have.
fn script(blocks: &[Block], port: u16) -> String {
    let mut script = "set -u\ntrap 'kill $(jobs -p); wait' EXIT\n".to_owned();
    for block in blocks {
        let commands = block.commands.replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"));
        script.push_str(&format!("printf '\\x1e'\n{commands}\n"));
        if commands.contains("serve &") {
            // A person types slower than the server starts.
            script.push_str(&format!(
                "for _ in $(seq 200); do curl -sf -o ready http://127.0.0.1:{port}/readyz && break; sleep 0.1; done\n"
            ));
        }
    }
    script
}

/// The parts of a shown answer that are the same in every run, in order.
fn fixed_parts(shown: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || "_.:-".contains(c);
    let text: String = shown.chars().filter(|c| !c.is_whitespace()).collect();
    let mut parts = vec![String::new()];
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let length =
            if is_word(first) { rest.find(|c| !is_word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (word, after) = rest.split_at(length);
        rest = after;
        if word == "…" || word.chars().filter(char::is_ascii_digit).count() >= DIGITS {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push_str(word);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Asserts that an output has what is shown of it.
fn assert_as_shown(block: &Block, output: &str) {
    let said: String = output.chars().filter(|c| !c.is_whitespace()).collect();
    let mut rest = said.as_str();
    for part in fixed_parts(&block.shown) {
        let at = rest.find(&part);
        let at =
            at.unwrap_or_else(|| panic!("{part}\nis shown behind\n{}\nand not in\n{output}", block.commands));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn every_command_of_the_readme_works_in_order_and_answers_as_it_shows() {
    for tool in ["bash", "curl", "jq"] {
        if Command::new(tool).arg("--version").output().is_err() {
            // Why not `eprintln!`: the test runner would hide it in a test that passes.
            let line = format!("{tool} is not installed: the README's commands were not run\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            return;
        }
    }
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let blocks = blocks(&std::fs::read_to_string(readme).unwrap());
    assert!(blocks.len() >= 12, "{} blocks", blocks.len());
    let dir = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // Why no names: this test contacts no third party, and the README says what comes of the calls then.
    let config = "[egress]\ndns_servers = [\"127.0.0.1:1\"]\n[limits]\ndns_ms = 300\n";
    let config_file = dir.path().join("quiet.toml");
    std::fs::write(&config_file, config).unwrap();
    let beside = binary::path().parent().unwrap().display().to_string();
    let ran = Command::new("bash")
        .args(["-c", &script(&blocks, port)])
        .current_dir(dir.path())
        .env_clear()
        .env("PATH", format!("{beside}:{}", std::env::var("PATH").unwrap()))
        .env("PORTCULLIS_LISTEN", format!("127.0.0.1:{port}"))
        .env("PORTCULLIS_CONFIG", &config_file)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8(ran.stdout).unwrap(), String::from_utf8_lossy(&ran.stderr).into_owned());
    let outputs: Vec<&str> = out.split(MARK).skip(1).collect();
    assert_eq!(outputs.len(), blocks.len(), "{out}\n{err}");
    let mut compared = 0;
    for (block, output) in blocks.iter().zip(&outputs) {
        assert!(!output.contains("\"code\":\"bad_json\""), "{}\n{output}", block.commands);
        if !block.shown.is_empty() && !block.shown.contains(OF_A_THIRD_PARTY) {
            assert_as_shown(block, output);
            compared += 1;
        }
    }
    assert!(compared >= 7, "{compared} answers are shown");
    let dry = blocks.iter().position(|block| block.commands.contains("dry_run=true")).unwrap();
    assert!(
        outputs[dry].contains("\"dry_run\":true") && outputs[dry].contains("curl -X POST"),
        "{}",
        outputs[dry]
    );
    assert!(out.contains("petstore.json: ok"), "{out}");
    for line in err.lines().filter(|line| !line.starts_with('{')) {
        assert!(!line.contains("command not found") && !line.contains("No such file"), "{err}");
    }
}

#[test]
fn what_differs_from_run_to_run_is_no_fixed_part() {
    let shown = "{\"at\":\"2026-11-22T12:00:46.487454Z\",\"a\":1,…,\"id\":\"req_01a20321…\"}";
    assert_eq!(fixed_parts(shown), ["{\"at\":\"", "\",\"a\":1,", ",\"id\":\"", "\"}"]);
}
