//! Builds the generic HTTP handler from source to a component, lists the catalog, and leaves both in
//! `OUT_DIR`.
//!
//! The guest is compiled by a nested cargo in a separate target directory, so that neither the
//! host's flags nor its lock apply to it, then encoded and validated by `wit-component`.

#![allow(clippy::disallowed_methods, reason = "a build script gets its paths from the environment")]

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";
/// Guest stack, bytes. The handler's deepest path is JSON parsing, which recurses at most 128 deep.
const STACK_BYTES: u32 = 128 * 1024;

fn main() {
    if let Err(error) = build() {
        println!("cargo::error={error}");
        std::process::exit(1);
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    let manifest_dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let root = manifest_dir.parent().ok_or("connectors/ has no parent")?.to_path_buf();
    for watched in [
        "connectors/definitions",
        "connectors/http",
        "guest-sdk",
        "runtime/crates/action",
        "wit",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("catalog.rs"), catalog(&manifest_dir.join("definitions"))?)?;
    let module = compile(&root, &out.join("guest-target"))?;
    let component = wit_component::ComponentEncoder::default()
        .module(&fs::read(&module)?)?
        .validate(true)
        .encode()
        .map_err(|e| format!("the HTTP handler is not a component: {e:#}"))?;
    fs::write(out.join("http_handler.wasm"), component)?;
    Ok(())
}

/// The catalog as a Rust expression: every definition's file stem and text, in order.
fn catalog(directory: &Path) -> Result<String, Box<dyn Error>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut text = String::from("&[\n");
    for file in files {
        let stem =
            file.file_stem().and_then(|stem| stem.to_str()).ok_or("a definition's name is not text")?;
        text.push_str(&format!("({stem:?}, include_str!({:?})),\n", file.display().to_string()));
    }
    text.push_str("]\n");
    Ok(text)
}

fn compile(root: &Path, target_dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .args(["rustc", "--quiet", "--package", "portcullis-http-handler", "--lib"])
        .args(["--crate-type", "cdylib", "--profile", "guest", "--target", TARGET])
        .arg("--target-dir")
        .arg(target_dir)
        .arg("--")
        .args(["-C", &format!("link-arg=-zstack-size={STACK_BYTES}")])
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_BUILD_TARGET_DIR")
        .output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        if text.contains("can't find crate for `core`") || text.contains("may not be installed") {
            return Err(format!("the guest target is missing; run: rustup target add {TARGET}").into());
        }
        return Err(format!("building the HTTP handler failed: {}", text.replace('\n', " | ")).into());
    }
    Ok(target_dir.join(TARGET).join("guest").join("portcullis_http_handler.wasm"))
}
