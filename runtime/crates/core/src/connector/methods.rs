//! Several ways to authenticate: each makes a connector of its own from the same definition.

use super::{Connector, build};
use crate::definition::{AuthMethodDef, AuthSchema, Definition};
use crate::violation::Violation;

/// One of several ways to authenticate.
#[derive(Debug, Clone)]
pub struct AuthMethod {
    /// Its id.
    pub id: String,
    /// Label for people.
    pub label: Option<String>,
    /// Shown as the one to choose.
    pub recommended: bool,
    /// The connector under this way.
    pub connector: Connector,
}

/// Builds a connector for every way; breaches that the default way has too are not repeated.
pub(super) fn build_all(
    definition: &Definition,
    errors: &mut Vec<Violation>,
    warnings: &mut Vec<Violation>,
) -> Vec<AuthMethod> {
    let mut methods: Vec<AuthMethod> = Vec::new();
    for (index, wire) in definition.auth_methods.iter().enumerate() {
        let at = format!("/auth_methods/{index}");
        let mut before = definition.auth_methods.iter().take(index);
        if before.clone().any(|other| other.id == wire.id) {
            let message = format!("id {:?} is used twice", wire.id);
            errors.push(Violation::new(format!("{at}/id"), "duplicate_method", message));
        }
        if wire.recommended && before.any(|other| other.recommended) {
            let message = "another method is the recommended one already";
            errors.push(Violation::new(format!("{at}/recommended"), "duplicate_method", message));
        }
        // Why: under an auth_type that is none, every member of auth would be reported as unread.
        let broken = format!("{at}/auth_type");
        if errors.iter().any(|p| p.pointer == broken) {
            continue;
        }
        let (mut own_errors, mut own_warnings) = (Vec::new(), Vec::new());
        let connector = build(&variant(definition, wire), &mut own_errors, &mut own_warnings);
        adopt(own_errors, wire, &at, errors);
        adopt(own_warnings, wire, &at, warnings);
        methods.extend(connector.map(|connector| AuthMethod {
            id: wire.id.clone(),
            label: wire.label.clone(),
            recommended: wire.recommended,
            connector,
        }));
    }
    methods
}

/// The definition as if the method were its only way to authenticate.
fn variant(definition: &Definition, wire: &AuthMethodDef) -> Definition {
    Definition {
        auth_type: wire.auth_type,
        auth: wire.auth.clone(),
        auth_schema: AuthSchema { fields: wire.fields.clone() },
        base_url: wire.base_url.clone().or_else(|| definition.base_url.clone()),
        auth_methods: Vec::new(),
        ..definition.clone()
    }
}

/// Takes over what only this method has: at its place in the method, or with the method's name where
/// the place is shared.
fn adopt(own: Vec<Violation>, wire: &AuthMethodDef, at: &str, problems: &mut Vec<Violation>) {
    for mut problem in own {
        match moved(&problem.pointer, at, wire.base_url.is_some()) {
            Some(pointer) => problem.pointer = pointer,
            None if problems.contains(&problem) => continue,
            None => problem.message = format!("{} (under auth_methods {:?})", problem.message, wire.id),
        }
        problems.push(problem);
    }
}

/// Where the method has what a connector has at the top; `None` for what the ways share.
fn moved(pointer: &str, at: &str, own_base: bool) -> Option<String> {
    if let Some(rest) = pointer.strip_prefix("/auth_schema/fields") {
        return Some(format!("{at}/fields{rest}"));
    }
    if own_base && pointer == "/base_url" {
        return Some(format!("{at}/base_url"));
    }
    let rest = pointer.strip_prefix("/auth")?;
    (rest.is_empty() || rest.starts_with('/')).then(|| format!("{at}/auth{rest}"))
}
