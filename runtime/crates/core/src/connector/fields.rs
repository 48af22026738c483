//! From the definition's credential form and config fields to checked fields.

use portcullis_action::template::{Filter, Tables, parse_filters, tables_of};

use super::action::Report;
use crate::definition::{Definition, FieldDef, FieldScope, FieldType};
use crate::form::{Computed, Field, VisibleWhen};
use crate::input::Pattern;
use crate::violation::{Violation, Violations};

/// The message about a filter that would reveal a secret.
const NOT_REDUCING: &str = "is made from a secret and visible to guests: only after_last, before_first, \
                            md5, sha1 and sha256 may be applied, at least one of them";

/// Compiles an anchored pattern; matching takes linear time.
pub(super) fn pattern(
    text: &str,
    message: Option<&str>,
    pointer: &str,
    report: &mut Report<'_>,
) -> Option<Pattern> {
    match report.compiler.whole(text) {
        Ok(whole) => Some(Pattern::new(whole, message.map(str::to_owned))),
        Err(why) => {
            report.error(pointer, "pattern_invalid", why);
            None
        }
    }
}

/// A field as written, with its pointer and whether it belongs to the credential form.
type Written<'d> = (String, &'d FieldDef, bool);

fn written(definition: &Definition) -> impl Iterator<Item = Written<'_>> {
    let form = definition.auth_schema.fields.iter().enumerate();
    let config = definition.config_fields.iter().enumerate();
    form.map(|(i, f)| (format!("/auth_schema/fields/{i}"), f, true))
        .chain(config.map(|(i, f)| (format!("/config_fields/{i}"), f, false)))
}

/// Credential fields first, then config fields, with every name used once.
pub(super) fn fields(definition: &Definition, tables: &Tables, report: &mut Report<'_>) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    for (pointer, wire, in_form) in written(definition) {
        if fields.iter().any(|f| f.name == wire.name) {
            let message = format!("field {:?} is used twice", wire.name);
            report.error(format!("{pointer}/name"), "duplicate_field", message);
        }
        fields.push(field(wire, in_form, tables, &pointer, report));
    }
    for (pointer, wire, _) in written(definition) {
        check_references(wire, &fields, &pointer, report.errors);
    }
    fields
}

fn field(wire: &FieldDef, in_form: bool, tables: &Tables, pointer: &str, report: &mut Report<'_>) -> Field {
    check_rules(wire, in_form, pointer, report.errors);
    let computed = wire.computed.as_ref().and_then(|computed| {
        let filters = computed.filter.as_deref().map_or(Ok(Vec::new()), parse_filters);
        let at = format!("{pointer}/computed/filter");
        match filters {
            Ok(filters) => {
                report.lookups(&filters, tables, &at);
                let own =
                    tables_of(&filters).filter_map(|name| Some((name.to_owned(), tables.get(name)?.clone())));
                let tables = own.collect();
                Some(Computed { from: computed.from.clone(), filters, tables })
            }
            Err(e) => {
                report.error(at, "template_invalid", e.to_string());
                None
            }
        }
    });
    let at = format!("{pointer}/pattern");
    let text = wire.pattern.as_ref();
    let field = Field {
        name: wire.name.clone(),
        label: wire.label.clone(),
        kind: wire.r#type,
        required: wire.required,
        secret: wire.secret.unwrap_or(in_form),
        scope: wire.scope,
        default: wire.default.clone(),
        min_length: wire.min_length,
        max_length: wire.max_length,
        accepted: wire.r#enum.clone(),
        placeholder: wire.placeholder.clone(),
        help: wire.help.clone(),
        help_url: wire.help_url.clone(),
        group: wire.group.clone(),
        order: wire.order,
        pattern: text.and_then(|text| pattern(text, wire.pattern_message.as_deref(), &at, report)),
        format: wire.format,
        prefix: wire.prefix.clone(),
        suffix: wire.suffix.clone(),
        visible_when: wire.visible_when.as_ref().map(|when| VisibleWhen {
            field: when.field.clone(),
            accepted: when.equals.iter().chain(when.r#in.iter().flatten()).cloned().collect(),
        }),
        automated: wire.automated,
        computed,
        trim: wire.trim,
    };
    if let Some(default) = field.default.as_deref().filter(|_| !field.secret) {
        field.check_within(default, &format!("{pointer}/default"), report.budget, report.errors);
    }
    field
}

/// Rules that concern one field alone.
fn check_rules(wire: &FieldDef, in_form: bool, pointer: &str, errors: &mut Violations) {
    let secret = wire.secret.unwrap_or(in_form);
    let mut refuse = |member: &str, code: &'static str, message: &str| {
        errors.push(Violation::new(format!("{pointer}/{member}"), code, message));
    };
    if secret && !in_form {
        let message = "config_fields are visible to guests; a secret belongs to auth_schema.fields";
        refuse("secret", "config_field_secret", message);
    }
    if secret && wire.default.is_some() {
        let message = "a secret has no default: it would be the same for every workspace and in plain sight";
        refuse("default", "secret_default", message);
    }
    if !in_form && wire.scope == FieldScope::Client {
        let message = "a client's field belongs to the form; config_fields are the workspace's";
        refuse("scope", "field_scope", message);
    }
    if in_form && wire.automated {
        refuse("automated", "field_automated", "only config_fields can be automated");
    }
    if secret && wire.computed.is_some() {
        refuse("computed", "field_computed", "only a field that is not secret can be computed");
    }
    if wire.automated && wire.computed.is_some() {
        refuse("computed", "field_computed", "a field is automated or computed, not both");
    }
    let no_values = wire.r#enum.as_ref().is_none_or(Vec::is_empty);
    if no_values && (wire.r#type == FieldType::Select || wire.r#enum.is_some()) {
        refuse(
            "enum",
            "select_without_enum",
            "needs at least one {\"value\", \"label\"}; a select needs enum",
        );
    }
    if wire.min_length.zip(wire.max_length).is_some_and(|(min, max)| min > max) {
        refuse("min_length", "rule_contradiction", "is more than max_length: no value is possible");
    }
    if wire.pattern_message.is_some() && wire.pattern.is_none() {
        refuse(
            "pattern_message",
            "rule_unused",
            "is said when pattern does not match, and there is no pattern",
        );
    }
    if wire.visible_when.as_ref().is_some_and(|when| when.equals.is_none() && when.r#in.is_none()) {
        refuse(
            "visible_when",
            "visible_when_incomplete",
            "needs equals, or in with a list: values of the other field",
        );
    }
}

/// References to other fields must name fields that exist and can be used that way.
fn check_references(wire: &FieldDef, fields: &[Field], pointer: &str, errors: &mut Violations) {
    let mut refuse = |member: &str, code: &'static str, message: String| {
        errors.push(Violation::new(format!("{pointer}/{member}"), code, message));
    };
    let find = |name: &str| fields.iter().find(|f| f.name == name && name != wire.name);
    if let Some(when) = &wire.visible_when {
        match find(&when.field) {
            None => refuse("visible_when/field", "unknown_reference", no_field(&when.field)),
            Some(other) if other.secret => {
                let message = format!("{:?} is a secret; its value is no condition", when.field);
                refuse("visible_when/field", "unknown_reference", message);
            }
            Some(_) => {}
        }
    }
    let Some(computed) = &wire.computed else { return };
    match find(&computed.from) {
        None => refuse("computed/from", "unknown_reference", no_field(&computed.from)),
        Some(other) if other.automated => {
            let message = format!("{:?} is filled in after the form was saved", computed.from);
            refuse("computed/from", "unknown_reference", message);
        }
        Some(other) if other.secret => {
            let filters = computed.filter.as_deref().and_then(|text| parse_filters(text).ok());
            let filters = filters.unwrap_or_default();
            if computed.filter.is_none() || !(filters.is_empty() || filters.iter().all(reduces)) {
                refuse("computed/filter", "computed_from_secret", NOT_REDUCING.to_owned());
            }
        }
        Some(_) => {}
    }
}

fn no_field(name: &str) -> String {
    format!("there is no other field {name:?}")
}

/// Whether a filter returns a part or a hash, never the whole.
const fn reduces(filter: &Filter) -> bool {
    matches!(
        filter,
        Filter::AfterLast(_) | Filter::BeforeFirst(_) | Filter::Md5 | Filter::Sha1 | Filter::Sha256
    )
}
