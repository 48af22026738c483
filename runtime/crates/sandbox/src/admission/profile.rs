//! Which interfaces a profile has, and what to do about an import that it does not have.

use std::collections::BTreeSet;

use portcullis_core::definition::ProfileDef;

use super::{ModuleProblem, is_ours, wrong_version};

/// The interfaces of every profile.
pub(crate) const PURE: &[&str] = &[
    "portcullis:connector/log@0.1.0",
    "portcullis:connector/outbound-http@0.1.0",
    "portcullis:connector/types@0.1.0",
];

/// The interfaces of WASI 0.2 that `std` has besides, in any version of 0.2.
pub(crate) const STD: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// Interfaces that a module of `std` may name and that nothing stands behind: a call of one ends the guest. The
/// runtimes of some languages import them whether they are used or not.
const TRAPS: &[&str] = &[
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Whether a module of a profile may import an interface.
pub(crate) fn has(profile: ProfileDef, name: &str) -> bool {
    PURE.contains(&name) || (profile == ProfileDef::Std && is_std(name))
}

/// The interface without its version, if that is a release of WASI 0.2.
fn released(name: &str) -> Option<&str> {
    let (interface, version) = name.split_once('@')?;
    let patch = version.strip_prefix("0.2.")?;
    let is_release = !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit());
    is_release.then_some(interface)
}

fn is_std(name: &str) -> bool {
    released(name).is_some_and(|interface| STD.contains(&interface) || TRAPS.contains(&interface))
}

/// Whether an interface may be named, and has nothing behind it.
pub(crate) fn is_trap(name: &str) -> bool {
    released(name).is_some_and(|interface| TRAPS.contains(&interface))
}

/// The smallest profile that has all these.
pub(crate) fn of<'n>(mut imports: impl Iterator<Item = &'n str> + Clone) -> Option<ProfileDef> {
    let all_in = |profile| imports.clone().all(|name| has(profile, name));
    if all_in(ProfileDef::Pure) {
        return Some(ProfileDef::Pure);
    }
    imports.all(|name| has(ProfileDef::Std, name)).then_some(ProfileDef::Std)
}

/// Reports imports that the largest profile which is admitted does not have.
pub(super) fn judge_imports(
    imports: &BTreeSet<String>,
    tools: &BTreeSet<String>,
    admitted: ProfileDef,
    problems: &mut Vec<ModuleProblem>,
) {
    for name in imports.iter().filter(|name| !has(admitted, name)) {
        if is_ours(name) && PURE.iter().any(|own| without_version(own) == without_version(name)) {
            problems.push(wrong_version(name));
            continue;
        }
        let message = if is_std(name) {
            format!("it imports {name}, which only the profile std has (modules.allow_std)")
        } else {
            format!("it imports {name}; a module may import {} only", PURE.join(", "))
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_its_interfaces_and_no_others() {
        let (pure, std) = (ProfileDef::Pure, ProfileDef::Std);
        for (name, in_pure, in_std) in [
            ("portcullis:connector/outbound-http@0.1.0", true, true),
            ("portcullis:connector/outbound-http@0.2.0", false, false),
            ("wasi:clocks/wall-clock@0.2.6", false, true),
            ("wasi:clocks/wall-clock@0.2.12", false, true),
            ("wasi:clocks/wall-clock@0.3.0", false, false),
            ("wasi:clocks/wall-clock@0.2.0-rc-2023-11-10", false, false),
            ("wasi:clocks/wall-clock@0.2.", false, false),
            ("wasi:clocks/wall-clock", false, false),
            ("wasi:clocks/timezone@0.2.6", false, false),
            ("wasi:sockets/tcp@0.2.6", false, true),
            ("wasi:http/outgoing-handler@0.2.6", false, false),
            ("wasi:http/types@0.2.6", false, false),
            ("wasi:keyvalue/store@0.2.0", false, false),
        ] {
            assert_eq!((has(pure, name), has(std, name)), (in_pure, in_std), "{name}");
        }
        let of = |names: &[&str]| of(names.iter().copied());
        assert_eq!(of(&[]), Some(pure));
        assert_eq!(of(PURE), Some(pure));
        assert_eq!(of(&[PURE[0], "wasi:cli/exit@0.2.6"]), Some(std));
        assert_eq!(of(&["wasi:cli/exit@0.2.6", "wasi:http/types@0.2.6"]), None);
    }
}
