//! `portcullis module new`: a working module in an empty folder, with everything that it needs of this program.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::failed;
use crate::cli::DONE;
use crate::output;

/// Every file that a starter can get, with its place in the source.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/starters.rs"));
/// What stands for the module's name.
const NAME: &str = "{{name}}";
/// Longest name, bytes: it becomes a package's name and a connector's id.
const NAME_BYTES_MAX: usize = 60;

/// Languages with a starter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Lang {
    /// Rust and cargo
    Rust,
    /// JavaScript, Node.js and componentize-js
    Js,
    /// Python and componentize-py
    Py,
    /// Go
    Go,
}

impl Lang {
    const fn folder(self) -> &'static str {
        match self {
            Self::Rust => "starters/rust/",
            Self::Js => "starters/js/",
            Self::Py => "starters/py/",
            Self::Go => "starters/go/",
        }
    }

    /// How it is tested and built, in this order.
    const fn commands(self) -> &'static [&'static str] {
        match self {
            Self::Rust => &[
                "cargo test",
                "cargo build --release --target wasm32-unknown-unknown",
                "portcullis module pack target/wasm32-unknown-unknown/release/module.wasm -o module.wasm",
            ],
            Self::Js => &["npm install", "node --test", "node build.js"],
            Self::Py => &[
                "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
                ".venv/bin/python -m unittest",
                ".venv/bin/componentize-py -d sdk/wit -w module componentize --stub-wasi main -o module.wasm",
            ],
            Self::Go => &[
                "go test ./...",
                "GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags=\"-s -w\" -o core.wasm .",
                "portcullis module pack core.wasm -o module.wasm",
            ],
        }
    }
}

/// Arguments of `module new`.
#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// Language
    #[arg(long, value_enum)]
    lang: Lang,
    /// Name of the module: lower-case letters, digits and hyphens
    #[arg(value_name = "NAME")]
    name: String,
    /// Where it goes [default: a folder with its name]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Writes the starter.
pub(super) fn run(args: &NewArgs) -> u8 {
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    if let Err(why) = write(args, &folder) {
        return failed(&folder, why);
    }
    output::line(&format!("wrote {}; now, in that folder:", folder.display()));
    for command in args.lang.commands() {
        output::line(&format!("  {command}"));
    }
    output::line("  portcullis module check module.wasm");
    output::line("README.md there says the rest.");
    DONE
}

fn write(args: &NewArgs, folder: &Path) -> Result<(), String> {
    let name = &args.name;
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !plain || !name.starts_with(|ch: char| ch.is_ascii_lowercase()) || name.len() > NAME_BYTES_MAX {
        return Err(format!(
            "{name:?} is no name for a module: lower-case letters, digits and hyphens, beginning with a letter, at \
             most {NAME_BYTES_MAX}"
        ));
    }
    let told = |error: std::io::Error| error.to_string();
    fs::create_dir_all(folder).map_err(told)?;
    if fs::read_dir(folder).map_err(told)?.next().is_some() {
        return Err("the folder is not empty; a starter never overwrites anything".to_owned());
    }
    for (path, bytes) in FILES {
        let Some(to) = place(args.lang, path) else { continue };
        let to = folder.join(to);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(told)?;
        }
        // Why its own files alone: in code of the SDK the same characters mean something else.
        let own = path.starts_with(args.lang.folder());
        let filled = std::str::from_utf8(bytes).ok().filter(|_| own);
        let filled = filled.map(|text| text.replace(NAME, name).into_bytes());
        fs::write(&to, filled.as_deref().unwrap_or(bytes)).map_err(told)?;
    }
    Ok(())
}

/// Where a file goes in the new folder; `None` for one of another language.
fn place(lang: Lang, path: &str) -> Option<String> {
    if let Some(own) = path.strip_prefix(lang.folder()) {
        return Some(own.to_owned());
    }
    let shared = path.starts_with("wit/") || (lang == Lang::Rust && path.starts_with("guest-sdk/"));
    shared.then(|| format!("sdk/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_gets_its_files_and_the_interface() {
        for lang in Lang::value_variants() {
            let places: Vec<String> = FILES.iter().filter_map(|(path, _)| place(*lang, path)).collect();
            for needed in ["README.md", "connector.json", "sdk/wit/connector.wit"] {
                assert!(places.iter().any(|place| place == needed), "{lang:?} {needed}");
            }
            let sdk = places.iter().any(|place| place == "sdk/guest-sdk/Cargo.toml");
            assert_eq!(sdk, *lang == Lang::Rust);
        }
    }
}
