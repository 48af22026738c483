//! What a component is, read from its bytes before anything is compiled: a report for the people who made it.
//!
//! Only the sections that say so are read: imports, exports, memories, tables and the names of the tools. Whether the
//! rest is valid shows when it is compiled.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_core::definition::ProfileDef;
use portcullis_core::hex;
use portcullis_core::limits::Limits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wasmparser::{
    ComponentExternalKind, Encoding, KnownCustom, MemoryType, Parser, Payload, ProducersSectionReader,
    TableSectionReader,
};

mod profile;

#[cfg(test)]
pub(crate) use profile::STD;
pub(crate) use profile::{PURE, has, is_trap};

/// First part of a digest as it is written.
pub const DIGEST_PREFIX: &str = "sha256:";
/// The interface that a module must export.
pub(crate) const HANDLER: &str = "portcullis:connector/handler@0.1.0";
/// The package of the interfaces, without a version.
const PACKAGE: &str = "portcullis:connector/";
/// Bytes of a page of linear memory.
const PAGE_BYTES: u64 = 64 * 1024;
/// Most names of one kind in a report: a hostile component has as many as fit.
const NAMES_MAX: usize = 100;
/// Longest name in a report, characters.
const NAME_CHARS_MAX: usize = 200;

/// What a component is, and why it is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModuleReport {
    /// `sha256:` and the digest of the bytes, hexadecimal.
    pub digest: String,
    /// Size, bytes.
    pub bytes: u64,
    /// Interfaces that it imports.
    pub imports: Vec<String>,
    /// Interfaces that it exports.
    pub exports: Vec<String>,
    /// The smallest profile that has all it imports; null if none does.
    pub profile: Option<ProfileDef>,
    /// Smallest size of its memories together, bytes.
    pub memory_min_bytes: u64,
    /// Smallest size of its largest table, elements.
    pub table_min: u64,
    /// The tools that made it, as it says itself.
    pub toolchain: Option<String>,
    /// How long it was compiled, milliseconds; null before.
    pub compile_ms: Option<u64>,
    /// Size of its machine code, bytes; null before it is compiled.
    pub native_bytes: Option<u64>,
    /// Why it is refused; empty if it is not.
    pub problems: Vec<ModuleProblem>,
}

/// One reason why a component is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModuleProblem {
    /// Stable code.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do, as a flag, a command or a line to use.
    pub mend: String,
}

impl ModuleProblem {
    /// A problem.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), mend: mend.into() }
    }
}

/// The digest of a component's bytes as it is written.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> String {
    format!("{DIGEST_PREFIX}{}", hex::encode(digest(&SHA256, bytes).as_ref()))
}

/// Whether a text is a digest as it is written.
#[must_use]
pub fn is_digest(text: &str) -> bool {
    let hex = text.strip_prefix(DIGEST_PREFIX);
    hex.is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// Reads what a component is. Its problems are in the report; nothing is compiled. `admitted` is the largest profile that
/// it may need.
#[must_use]
pub fn inspect(bytes: &[u8], admitted: ProfileDef, limits: &Limits) -> ModuleReport {
    let mut report = ModuleReport {
        digest: digest_of(bytes),
        bytes: bytes.len() as u64,
        imports: Vec::new(),
        exports: Vec::new(),
        profile: None,
        memory_min_bytes: 0,
        table_min: 0,
        toolchain: None,
        compile_ms: None,
        native_bytes: None,
        problems: Vec::new(),
    };
    if report.bytes > limits.module_bytes {
        let message =
            format!("it has {} bytes, limits.module_bytes is {}", report.bytes, limits.module_bytes);
        let mend = "build it for release and strip it (wasm-tools strip)";
        report.problems.push(ModuleProblem::new("too_large", message, mend));
        return report;
    }
    let mut found = Found::default();
    if let Err(why) = found.read(bytes) {
        report.problems.push(why.problem());
        return report;
    }
    found.judge(admitted, limits, &mut report);
    report
}

/// Why the bytes are no component.
enum Unreadable {
    /// The host's own format one level down.
    CoreModule,
    Broken(String),
}

impl Unreadable {
    fn problem(self) -> ModuleProblem {
        match self {
            Self::CoreModule => ModuleProblem::new(
                "not_a_component",
                "it is a core module, not a component",
                "portcullis module pack FILE",
            ),
            Self::Broken(why) => ModuleProblem::new(
                "not_a_component",
                format!("it is not a component: {why}"),
                "upload the .wasm file that the build command of `portcullis module new` makes",
            ),
        }
    }
}

/// What the sections say.
#[derive(Default)]
struct Found {
    imports: BTreeSet<String>,
    exports: BTreeSet<String>,
    memory_min_bytes: u64,
    table_min: u64,
    tools: BTreeSet<String>,
    has_start: bool,
    /// Kinds of memory or table that are not supported.
    unsupported: BTreeSet<&'static str>,
}

impl Found {
    fn read(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        let broken = |error: wasmparser::BinaryReaderError| Unreadable::Broken(error.message().to_owned());
        // Depth of nesting: only the outermost component's imports are the host's to give.
        let mut depth = 0_u32;
        let mut ended = false;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(broken)? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                    return Err(Unreadable::CoreModule);
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => {
                    ended = depth == 0;
                    depth = depth.saturating_sub(1);
                }
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        note(&mut self.imports, import.map_err(broken)?.name.name);
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        let export = export.map_err(broken)?;
                        if export.kind == ComponentExternalKind::Instance {
                            note(&mut self.exports, export.name.name);
                        }
                    }
                }
                Payload::ComponentStartSection { .. } => self.has_start = true,
                Payload::MemorySection(section) => {
                    for memory in section {
                        self.memory(&memory.map_err(broken)?);
                    }
                }
                Payload::TableSection(section) => self.tables(section).map_err(broken)?,
                Payload::CustomSection(section) => {
                    if let KnownCustom::Producers(section) = section.as_known() {
                        // Why ignored: what it says of itself decides nothing.
                        let _ = self.producers(section);
                    }
                }
                _ => {}
            }
        }
        if ended { Ok(()) } else { Err(Unreadable::Broken("it ends in the middle".to_owned())) }
    }

    fn memory(&mut self, memory: &MemoryType) {
        if memory.memory64 {
            self.unsupported.insert("64-bit memory");
        }
        if memory.shared {
            self.unsupported.insert("shared memory");
        }
        let page =
            memory.page_size_log2.map_or(PAGE_BYTES, |log| 1_u64.checked_shl(log).unwrap_or(PAGE_BYTES));
        self.memory_min_bytes = self.memory_min_bytes.saturating_add(memory.initial.saturating_mul(page));
    }

    fn tables(&mut self, section: TableSectionReader<'_>) -> wasmparser::Result<()> {
        for table in section {
            let table = table?.ty;
            if table.table64 {
                self.unsupported.insert("64-bit table");
            }
            self.table_min = self.table_min.max(table.initial);
        }
        Ok(())
    }

    fn producers(&mut self, section: ProducersSectionReader<'_>) -> wasmparser::Result<()> {
        for field in section {
            let field = field?;
            for value in field.values {
                let value = value?;
                note(&mut self.tools, format!("{} {}", value.name, value.version).trim());
            }
        }
        Ok(())
    }

    fn judge(self, admitted: ProfileDef, limits: &Limits, report: &mut ModuleReport) {
        let problems = &mut report.problems;
        profile::judge_imports(&self.imports, &self.tools, admitted, problems);
        report.profile = profile::of(self.imports.iter().map(String::as_str));
        let other = self.exports.iter().find(|name| name.starts_with("portcullis:connector/handler@"));
        match (self.exports.contains(HANDLER), other) {
            (true, _) => {}
            (false, Some(other)) => problems.push(wrong_version(other)),
            (false, None) => problems.push(ModuleProblem::new(
                "no_handler",
                format!("it does not export {HANDLER}"),
                "build it for the world portcullis:connector/module of wit/connector.wit",
            )),
        }
        if self.has_start {
            let message = "it has a component-level start function, which would run outside of any call";
            problems.push(ModuleProblem::new(
                "start_function",
                message,
                "do the work in the handler instead",
            ));
        }
        if self.memory_min_bytes > limits.module_memory_bytes {
            let message = format!(
                "its memories begin with {} bytes, limits.module_memory_bytes is {}",
                self.memory_min_bytes, limits.module_memory_bytes
            );
            let mend = "keep less in static data, or link with a smaller --initial-memory";
            problems.push(ModuleProblem::new("memory_too_large", message, mend));
        }
        if self.table_min > limits.module_table_elements {
            let message = format!(
                "a table begins with {} elements, limits.module_table_elements is {}",
                self.table_min, limits.module_table_elements
            );
            let mend = "build with optimizations, so that fewer functions are left";
            problems.push(ModuleProblem::new("table_too_large", message, mend));
        }
        for kind in &self.unsupported {
            let mend = format!("build without {kind}");
            problems.push(ModuleProblem::new("compile_failed", format!("it uses {kind}"), mend));
        }
        report.memory_min_bytes = self.memory_min_bytes;
        report.table_min = self.table_min;
        report.toolchain =
            (!self.tools.is_empty()).then(|| self.tools.into_iter().collect::<Vec<_>>().join(", "));
        report.imports = self.imports.into_iter().collect();
        report.exports = self.exports.into_iter().collect();
    }
}

/// Notes a name of hostile origin.
fn note(names: &mut BTreeSet<String>, name: &str) {
    if names.len() < NAMES_MAX {
        let shown = name.chars().take(NAME_CHARS_MAX).map(|ch| if ch.is_control() { ' ' } else { ch });
        names.insert(shown.collect());
    }
}

fn wrong_version(name: &str) -> ModuleProblem {
    ModuleProblem::new(
        "world_version",
        format!("it was built for {name}; this version has portcullis:connector@0.1.0"),
        "build it with the SDK and the wit folder of `portcullis module new` of this version",
    )
}

/// Whether a name belongs to our package, whatever its version.
fn is_ours(name: &str) -> bool {
    name.starts_with(PACKAGE)
}

#[cfg(test)]
mod tests;
