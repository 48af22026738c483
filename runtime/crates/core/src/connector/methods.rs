//! Several authentication methods: each makes a complete connector from the same definition.

use std::collections::BTreeSet;

use super::report::is_broken_in;
use super::{Connector, DEFAULT_METHOD, Report, build};
use crate::definition::{AuthMethodDef, AuthSchema, Definition};
use crate::limits::Limits;
use crate::violation::Violations;

/// One of several authentication methods.
#[derive(Debug, Clone)]
pub struct AuthMethod {
    pub id: String,
    pub label: Option<String>,
    /// Shown as the recommended choice.
    pub recommended: bool,
    /// The connector under this method.
    pub connector: Connector,
}

/// Builds a connector for every method; breaches that the default method has too are not repeated.
pub(super) fn build_all(
    definition: &Definition,
    limits: &Limits,
    report: &mut Report<'_>,
) -> Vec<AuthMethod> {
    let mut methods: Vec<AuthMethod> = Vec::new();
    for (index, wire) in definition.auth_methods.iter().enumerate() {
        let at = format!("/auth_methods/{index}");
        let mut before = definition.auth_methods.iter().take(index);
        if before.clone().any(|other| other.id == wire.id) {
            let message = format!("id {:?} is used twice", wire.id);
            report.error(format!("{at}/id"), "duplicate_method", message);
        }
        if wire.id == DEFAULT_METHOD {
            let message = "\"default\" is the connector's own auth_type; choose another id";
            report.error(format!("{at}/id"), "reserved_name", message);
        }
        if wire.recommended && before.any(|other| other.recommended) {
            let message = "another method is the recommended one already";
            report.error(format!("{at}/recommended"), "duplicate_method", message);
        }
        // Why: with an unknown auth_type, every member of auth would be reported as unread.
        let broken = format!("{at}/auth_type");
        if report.errors.iter().any(|p| p.pointer == broken) {
            continue;
        }
        let (mut errors, mut warnings) = (Violations::default(), Violations::default());
        let mut own = Report {
            errors: &mut errors,
            warnings: &mut warnings,
            compiler: &mut *report.compiler,
            budget: report.budget,
            lookups: BTreeSet::new(),
            tables_used: BTreeSet::new(),
        };
        let connector = build(&variant(definition, wire), limits, &mut own);
        report.tables_used.extend(std::mem::take(&mut own.tables_used));
        adopt(errors, wire, &at, report.errors);
        adopt(warnings, wire, &at, report.warnings);
        methods.extend(connector.map(|connector| AuthMethod {
            id: wire.id.clone(),
            label: wire.label.clone(),
            recommended: wire.recommended,
            connector,
        }));
    }
    methods
}

/// The definition as if the method were its only one.
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

/// Adds breaches that only this method has: at its pointer inside the method, or with the method's name
/// where the pointer is shared.
fn adopt(own: Violations, wire: &AuthMethodDef, at: &str, problems: &mut Violations) {
    for mut problem in own.into_vec() {
        match moved(&problem.pointer, at, wire.base_url.is_some()) {
            Some(pointer) => problem.pointer = pointer,
            None if problems.iter().any(|known| *known == problem) => continue,
            // Why: a rule whose condition was refused already is without one under every method.
            None if problem.code == "rule_without_condition" && is_broken_in(problems, &problem.pointer) => {
                continue;
            }
            None => problem.message = format!("{} (under auth_methods {:?})", problem.message, wire.id),
        }
        problems.push(problem);
    }
}

/// The pointer inside the method for a pointer at the top; `None` for members that all methods share.
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
