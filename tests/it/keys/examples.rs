//! The program of `examples/keys/pkcs11` with a stand-in for `pkcs11-tool`: it answers, and no key is ever in a file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use portcullis_store::{CommandKeys, CommandOptions, KekProvider as _};

use crate::support::until;

/// Encrypts nothing. It notes what it was given, and what is in the files of the program beside that.
const TOOL: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in --input-file) in=$2; shift ;; --output-file) out=$2; shift ;; esac
  shift
done
tee "$SEEN/given-$$" < "$in" > "$out"
cat "$XDG_RUNTIME_DIR"/*/* > "$SEEN/files-$$"
"#;

/// Whether the machine has what the program needs besides; said loudly if not.
#[allow(clippy::print_stderr, reason = "what was not run is said on standard error")]
fn can_run() -> bool {
    let is_there = |(program, argument): &(&str, &str)| {
        let output = Command::new(program).arg(argument).stdin(Stdio::null()).output();
        output.is_ok_and(|output| output.status.success())
    };
    let all = [("jq", "--version"), ("openssl", "version")].iter().all(is_there);
    if !all {
        eprintln!("NOT RUN: the program for PKCS#11 tokens; it needs jq and openssl");
    }
    all
}

/// The contents of the files whose names begin so.
fn contents(dir: &Path, begins: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let named = entries.filter(|entry| entry.file_name().to_str().unwrap().starts_with(begins));
    named.map(|entry| fs::read(entry.path()).unwrap()).collect()
}

fn is_in(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn the_program_for_tokens_has_no_key_in_a_file_and_leaves_none() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    for name in ["bin", "run", "seen"] {
        fs::create_dir(place(name)).unwrap();
    }
    fs::write(place("pin"), "1234").unwrap();
    fs::write(place("bin/pkcs11-tool"), TOOL).unwrap();
    fs::set_permissions(place("bin/pkcs11-tool"), fs::Permissions::from_mode(0o700)).unwrap();
    let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/keys/pkcs11");
    let variables = [
        ("PATH", format!("{}:{}", place("bin").display(), std::env::var("PATH").unwrap())),
        ("PKCS11_MODULE", "module".to_owned()),
        ("PKCS11_TOKEN", "token".to_owned()),
        ("PKCS11_PIN_FILE", place("pin").display().to_string()),
        ("PKCS11_KEYS", "01 02".to_owned()),
        ("XDG_RUNTIME_DIR", place("run").display().to_string()),
        ("SEEN", place("seen").display().to_string()),
    ];
    let mut argv = vec!["env".to_owned()];
    argv.extend(variables.map(|(name, value)| format!("{name}={value}")));
    argv.extend(["/bin/sh".to_owned(), program.display().to_string()]);
    let (timeout, opened_for) = (Duration::from_secs(60), Duration::from_secs(60));
    let keys = CommandKeys::open(CommandOptions { argv, timeout, opened_for }).await.unwrap();
    let ids = keys.key_ids();
    assert_eq!(ids.len(), 2);
    let wrapped = keys.wrap_key(&ids[1], b"here", &[7; 32]).await.unwrap();
    assert_eq!(*keys.unwrap_key(&ids[1], b"here", &wrapped).await.unwrap(), [7; 32]);

    until("nothing is left", async || fs::read_dir(place("run")).unwrap().next().is_none()).await;
    let (given, files) = (contents(&place("seen"), "given-"), contents(&place("seen"), "files-"));
    assert_eq!((given.len(), files.len()), (2, 2), "the tool was asked twice");
    for key in &given {
        assert_eq!(key.len(), 32);
        let text = BASE64.encode(key);
        assert!(!files.iter().any(|file| is_in(file, key) || is_in(file, text.as_bytes())));
    }
}
