//! Lists the files of the starters for `portcullis module new`, with the SDK and the interface that they get, in
//! `OUT_DIR`.

#![allow(clippy::disallowed_methods, reason = "a build script gets its paths from the environment")]

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::{env, process};

fn main() {
    if let Err(error) = list() {
        println!("cargo::error={error}");
        process::exit(1);
    }
}

fn list() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let root = here.parent().ok_or("runtime/ has no parent")?;
    let mut text = String::from("&[\n");
    let mut add = |folder: &Path, under: &str| -> Result<(), Box<dyn Error>> {
        println!("cargo::rerun-if-changed={}", folder.display());
        for file in files(folder)? {
            let name = file.strip_prefix(folder)?.to_string_lossy().into_owned();
            writeln!(
                text,
                "    ({:?}, include_bytes!({:?})),",
                format!("{under}/{name}"),
                file.display().to_string()
            )?;
        }
        Ok(())
    };
    add(&here.join("starters"), "starters")?;
    add(&root.join("guest-sdk/src"), "guest-sdk/src")?;
    add(&root.join("wit"), "wit")?;
    let manifest = root.join("guest-sdk/Cargo.toml");
    println!("cargo::rerun-if-changed={}", manifest.display());
    writeln!(text, "    (\"guest-sdk/Cargo.toml\", include_bytes!({:?})),", manifest.display().to_string())?;
    text.push(']');
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("starters.rs"), text)?;
    Ok(())
}

/// Every file below a folder, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Why: what a toolchain left behind is not part of a starter.
        let made = path
            .file_name()
            .is_some_and(|name| name == "target" || name == "node_modules" || name == "__pycache__");
        match (path.is_dir(), made) {
            (_, true) => {}
            (true, false) => found.extend(files(&path)?),
            (false, false) => found.push(path),
        }
    }
    found.sort();
    Ok(found)
}
