//! `portcullis module pack`: a core module as a component.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The interface of modules.
const WIT: &str = include_str!("../../../../wit/connector.wit");
/// The world of modules.
const WORLD: &str = "module";
/// What toolchains that cannot leave WASI out import.
const WASI: &str = "wasi_snapshot_preview1";
/// Stands in for it: it has no clock, no file and no environment, and imports nothing.
const WASI_NONE: &[u8] = include_bytes!("../../../adapter/wasi_none.wasm");

/// Encodes a core module. One that does not say which world it is for is one of modules.
///
/// # Errors
/// What is wrong with it.
pub(super) fn component(bytes: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut module = bytes.to_vec();
    if !has_world(bytes) {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("connector.wit", WIT)?;
        let world = resolve.select_world(&[package], Some(WORLD))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    }
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(&module)?;
    if imports_wasi(bytes) {
        encoder.adapter(WASI, WASI_NONE)?;
    }
    Ok(encoder.encode()?)
}

/// Whether a custom section describes the component already.
fn has_world(bytes: &[u8]) -> bool {
    sections(bytes).any(|payload| match payload {
        wasmparser::Payload::CustomSection(section) => section.name().starts_with("component-type"),
        _ => false,
    })
}

fn imports_wasi(bytes: &[u8]) -> bool {
    sections(bytes).any(|payload| match payload {
        wasmparser::Payload::ImportSection(section) => {
            section.into_imports().filter_map(Result::ok).any(|import| import.module == WASI)
        }
        _ => false,
    })
}

/// What can be read; the encoder says what cannot.
fn sections(bytes: &[u8]) -> impl Iterator<Item = wasmparser::Payload<'_>> {
    wasmparser::Parser::new(0).parse_all(bytes).map_while(Result::ok)
}
