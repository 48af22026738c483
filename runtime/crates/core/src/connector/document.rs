//! Rules of the document as a whole: maximum counts and sizes, before anything is built, and links for people.

use std::collections::BTreeSet;

use portcullis_action::budget::Budget;
use serde_json::Value;

use crate::definition::{ActionDef, Definition, FieldDef, FieldFormat};
use crate::format;
use crate::limits::Limits;
use crate::violation::{Violation, Violations};

/// Members of a definition that every action gets a copy of.
const INHERITED: &[&str] = &[
    "base_url",
    "default_headers",
    "default_query",
    "errors",
    "limits",
    "pagination",
    "rate_limit",
    "retry",
    "tables",
];

/// The message about a document that has more bytes of JSON than a definition may have.
pub(super) fn too_large(document: &Value, limits: &Limits) -> Option<String> {
    let mut bytes = Count(0);
    // Why ignored: counting cannot fail.
    let _ = serde_json::to_writer(&mut bytes, document);
    let (Count(bytes), limit) = (bytes, limits.definition_bytes);
    (bytes > limit)
        .then(|| format!("the definition is {bytes} bytes, the limit is {limit} (limits.definition_bytes)"))
}

/// The message about a text that no upload can have, because of its blanks.
pub(super) fn too_long(text: &[u8], limits: &Limits) -> Option<String> {
    let (bytes, limit) = (text.len() as u64, limits.api_body_bytes);
    (bytes > limit).then(|| {
        format!(
            "the text is {bytes} bytes, and an upload has at most {limit} (limits.api_body_bytes); without line breaks \
             and blanks it is shorter"
        )
    })
}

/// Counts what is written.
struct Count(u64);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Checks counts, sizes and links; returns whether the definition is small enough to be built.
pub(super) fn check(
    document: &Value,
    definition: &Definition,
    limits: &Limits,
    errors: &mut Violations,
    warnings: &mut Violations,
) -> bool {
    let before = errors.len();
    check_counts(definition, limits, errors);
    check_inherited(document, definition, limits, errors);
    let fits = errors.len() == before;
    check_links(definition, errors);
    check_automated(definition, warnings);
    fits
}

/// What actions take from the definition is copied for each, so its size counts as often.
fn check_inherited(document: &Value, definition: &Definition, limits: &Limits, errors: &mut Violations) {
    let copies = requests(definition).count().saturating_mul(definition.auth_methods.len() + 1) as u64;
    let size = |name: &str| document.get(name).map_or(0, weight);
    let sizes: Vec<(u64, &str)> = INHERITED.iter().map(|name| (size(name), *name)).collect();
    let all = sizes.iter().map(|(size, _)| *size).sum::<u64>().saturating_mul(copies);
    if all <= limits.inherited_bytes {
        return;
    }
    let (_, largest) = sizes.into_iter().max().unwrap_or((0, "default_query"));
    let message = format!(
        "{copies} copies of this and of what else every action inherits would be {all} bytes, the limit is {} \
         (limits.inherited_bytes); write it in the actions that need it",
        limits.inherited_bytes
    );
    errors.push(Violation::new(format!("/{largest}"), "too_many", message));
}

/// About the size of a value as JSON.
fn weight(value: &Value) -> u64 {
    let budget = Budget::unlimited();
    // Why ignored: an unlimited budget does not end.
    let _ = budget.copy(value);
    budget.made()
}

/// Every request of a definition with its pointer: actions, the test, discoveries.
pub(super) fn requests(definition: &Definition) -> impl Iterator<Item = (String, &ActionDef)> {
    let actions = definition.actions.iter().enumerate().map(|(i, action)| (format!("/actions/{i}"), action));
    let test = definition.test.iter().map(|test| ("/test/request".to_owned(), &test.request));
    let discover = definition.discover.iter().enumerate();
    let discover = discover.map(|(i, discover)| (format!("/discover/{i}/request"), &discover.request));
    actions.chain(test).chain(discover)
}

fn check_counts(definition: &Definition, limits: &Limits, errors: &mut Violations) {
    let config = definition.config_fields.len();
    let mut counts = vec![
        ("/actions".to_owned(), definition.actions.len(), limits.actions_per_connector, "actions"),
        ("/allowed_domains".to_owned(), definition.allowed_domains.len(), limits.allowed_domains, "entries"),
    ];
    let form = definition.auth_schema.fields.len();
    let what = "fields with config_fields";
    counts.push(("/auth_schema/fields".to_owned(), form + config, limits.fields_per_form, what));
    for (i, method) in definition.auth_methods.iter().enumerate() {
        let at = format!("/auth_methods/{i}/fields");
        counts.push((at, method.fields.len() + config, limits.fields_per_form, what));
    }
    for (at, action) in requests(definition) {
        let inputs = action.body_schema.len();
        counts.push((format!("{at}/body_schema"), inputs, limits.inputs_per_action, "inputs"));
        let headers = definition.default_headers.len() + action.headers.len();
        let what = "headers with default_headers";
        counts.push((format!("{at}/headers"), headers, limits.request_header_count, what));
        let pairs = definition.default_query.len() + action.query.len();
        counts.push((format!("{at}/query"), pairs, limits.query_pairs, "pairs with default_query"));
        let members = action.response.as_ref().map_or(0, |response| response.map.len());
        counts.push((format!("{at}/response/map"), members, limits.output_members, "members"));
    }
    for (at, count, limit, what) in counts {
        if count as u64 > limit {
            errors.push(Violation::new(at, "too_many", format!("has {count} {what}, the limit is {limit}")));
        }
    }
}

/// Links are shown to people as links, so only web addresses are accepted.
fn check_links(definition: &Definition, errors: &mut Violations) {
    let mut links: Vec<(String, Option<&String>)> = vec![
        ("/docs_url".to_owned(), definition.docs_url.as_ref()),
        ("/support_url".to_owned(), definition.support_url.as_ref()),
    ];
    links.extend(
        requests(definition).map(|(at, action)| (format!("{at}/docs_url"), action.docs_url.as_ref())),
    );
    links.extend(
        all_fields(definition).map(|(at, field)| (format!("{at}/help_url"), field.help_url.as_ref())),
    );
    for (at, link) in links {
        if let Some(breach) = link.and_then(|link| format::breach(FieldFormat::Url, link)) {
            errors.push(Violation::new(at, "wrong_form", format!("must be {breach}")));
        }
    }
}

fn all_fields(definition: &Definition) -> impl Iterator<Item = (String, &FieldDef)> {
    let numbered = |at: &str, fields: &'_ [FieldDef]| -> Vec<String> {
        (0..fields.len()).map(|i| format!("{at}/{i}")).collect()
    };
    let form = &definition.auth_schema.fields;
    let config = &definition.config_fields;
    let methods = definition.auth_methods.iter().enumerate().flat_map(move |(i, method)| {
        numbered(&format!("/auth_methods/{i}/fields"), &method.fields).into_iter().zip(&method.fields)
    });
    let form = numbered("/auth_schema/fields", form).into_iter().zip(form);
    form.chain(numbered("/config_fields", config).into_iter().zip(config)).chain(methods)
}

/// An automated field that no request fills stays empty for ever.
fn check_automated(definition: &Definition, warnings: &mut Violations) {
    let auths = definition.auth.iter().chain(definition.auth_methods.iter().filter_map(|m| m.auth.as_ref()));
    let captured = auths.flat_map(|auth| auth.capture.keys().chain(auth.capture_callback.keys()));
    let captured: BTreeSet<&String> =
        captured.chain(definition.discover.iter().flat_map(|d| d.capture.keys())).collect();
    for (i, field) in definition.config_fields.iter().enumerate() {
        if field.automated && !captured.contains(&field.name) {
            let message =
                format!("no discover, no auth.capture and no auth.capture_callback fills {:?}", field.name);
            warnings.push(Violation::new(
                format!("/config_fields/{i}/automated"),
                "field_never_filled",
                message,
            ));
        }
    }
}
