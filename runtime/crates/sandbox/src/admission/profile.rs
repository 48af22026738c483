//! Which interfaces a profile has, and what to do about an import that it does not have.

use std::collections::BTreeSet;

use portcullis_core::definition::ProfileDef;

use super::{ModuleProblem, is_ours, wrong_version};

/// The interfaces of every profile.
const PURE: &[&str] = &[
    "portcullis:connector/log@0.1.0",
    "portcullis:connector/outbound-http@0.1.0",
    "portcullis:connector/types@0.1.0",
];

/// The interfaces that a module of a profile may import.
pub(crate) const fn interfaces(profile: ProfileDef) -> &'static [&'static str] {
    match profile {
        ProfileDef::Pure => PURE,
    }
}

/// The smallest profile that has all these.
pub(super) fn of(imports: &BTreeSet<String>) -> Option<ProfileDef> {
    imports.iter().all(|name| PURE.contains(&name.as_str())).then_some(ProfileDef::Pure)
}

/// Reports imports that no profile has.
pub(super) fn judge_imports(
    imports: &BTreeSet<String>,
    tools: &BTreeSet<String>,
    problems: &mut Vec<ModuleProblem>,
) {
    for name in imports.iter().filter(|name| !PURE.contains(&name.as_str())) {
        if is_ours(name) && PURE.iter().any(|own| without_version(own) == without_version(name)) {
            problems.push(wrong_version(name));
            continue;
        }
        let message = format!("it imports {name}; a module may import {} only", PURE.join(", "));
        problems.push(ModuleProblem::new("import_forbidden", message, mend(name, tools)));
    }
}

fn without_version(name: &str) -> &str {
    name.split('@').next().unwrap_or(name)
}

/// The flag that makes the tool leave an import out.
fn mend(import: &str, tools: &BTreeSet<String>) -> String {
    let made_with = |name: &str| tools.iter().any(|tool| tool.to_ascii_lowercase().contains(name));
    if !import.starts_with("wasi:") {
        return "leave it out: a module reaches the network through outbound-http alone".to_owned();
    }
    if made_with("componentize-js") || made_with("starlingmonkey") {
        return "componentize-js: disableFeatures: ['clocks', 'fetch-event', 'http', 'random', 'stdio']"
            .to_owned();
    }
    if made_with("componentize-py") {
        return "componentize-py: componentize --stub-wasi".to_owned();
    }
    if made_with("rustc") {
        return "cargo build --release --target wasm32-unknown-unknown, then: portcullis module pack FILE"
            .to_owned();
    }
    "build it without WASI: the tool's option for a component that imports no system interface".to_owned()
}
