//! The fields of a connector's form: labels, help, groups, and what is wrong beside each.

use std::collections::BTreeMap;

use maud::{Markup, html};
use portcullis_core::definition::FieldType;
use portcullis_core::form::Field;
use portcullis_core::violation::{Violation, step};
use portcullis_engine::connect::FormMethod;

/// What stands before a field's name in a form, so that no field is taken for one of the page's own.
pub(super) const FIELD: &str = "field.";

/// What a person filled in, and what is wrong with it. Never a secret value.
#[derive(Default)]
pub(super) struct Filled {
    values: Option<BTreeMap<String, String>>,
    errors: Vec<Violation>,
    /// Pointers of the fields that are shown.
    shown: Vec<String>,
}

impl Filled {
    /// What was sent for these fields; `errors` are those of saving it.
    pub(super) fn of<'f>(
        fields: &[Field],
        get: impl Fn(&str) -> Option<&'f str>,
        errors: Vec<Violation>,
    ) -> Self {
        let kept = fields.iter().filter(|field| !field.secret).filter_map(|field| {
            let value = get(&format!("{FIELD}{}", field.name))?;
            Some((field.name.clone(), value.to_owned()))
        });
        let shown = fields.iter().map(pointer).collect();
        Self { values: Some(kept.collect()), errors, shown }
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// What is wrong with the whole form.
    pub(super) fn general(&self) -> impl Iterator<Item = &str> {
        let of_field = |error: &&Violation| self.shown.contains(&error.pointer);
        self.errors.iter().filter(move |error| !of_field(error)).map(|error| error.message.as_str())
    }

    /// What is wrong with a field, in words with its label.
    fn errors_of<'s>(&'s self, field: &'s Field) -> impl Iterator<Item = String> + 's {
        let pointer = pointer(field);
        let own = self.errors.iter().filter(move |error| error.pointer == pointer);
        own.map(move |error| match error.message.strip_prefix(&field.name) {
            Some(rest) => format!("{}{rest}", label(field)),
            None => error.message.clone(),
        })
    }

    /// The value that is shown in a field.
    fn value<'s>(&'s self, method: &'s FormMethod, field: &'s Field) -> Option<&'s str> {
        if field.secret {
            return None;
        }
        let saved = || method.values.get(&field.name).or(field.default.as_ref()).map(String::as_str);
        match &self.values {
            Some(values) => values.get(&field.name).map(String::as_str),
            None => saved(),
        }
    }
}

fn pointer(field: &Field) -> String {
    format!("/config/{}", step(&field.name))
}

fn label(field: &Field) -> &str {
    field.label.as_deref().unwrap_or(&field.name)
}

/// The fields, those of a group together where its first one stands.
pub(super) fn fields(method: &FormMethod, filled: &Filled) -> Markup {
    let mut groups: Vec<(Option<&str>, Vec<&Field>)> = Vec::new();
    for field in &method.fields {
        let group = field.group.as_deref();
        match groups.iter_mut().find(|(own, _)| *own == group) {
            Some((_, fields)) => fields.push(field),
            None => groups.push((group, vec![field])),
        }
    }
    html! {
        @for (group, fields) in &groups {
            @match group {
                Some(group) => {
                    fieldset {
                        legend { (group) }
                        @for field in fields { (one(method, filled, field)) }
                    }
                }
                None => { @for field in fields { (one(method, filled, field)) } }
            }
        }
    }
}

fn one(method: &FormMethod, filled: &Filled, field: &Field) -> Markup {
    let id = format!("f-{}", field.name);
    let wrong: Vec<String> = filled.errors_of(field).collect();
    html! {
        div class="field" {
            label for=(id) {
                (label(field))
                @if !field.required { " " span class="soft" { "(optional)" } }
            }
            (control(method, filled, field, &id, !wrong.is_empty()))
            div id={ (id) "-help" } {
                @for text in &wrong { p class="wrong" { (text) } }
                (help(method, field))
            }
        }
    }
}

/// What helps to fill a field in.
fn help(method: &FormMethod, field: &Field) -> Markup {
    let other = |name: &str| {
        method.fields.iter().find(|other| other.name == name).map_or(name.to_owned(), |f| label(f).to_owned())
    };
    html! {
        @if let Some(text) = &field.help { p class="help" { (text) } }
        @if let Some(url) = field.help_url.as_deref().filter(|url| url.starts_with("https://")) {
            p class="help" {
                a href=(url) target="_blank" rel="noopener noreferrer" { "Where to find " (label(field)) }
            }
        }
        @if let Some(when) = &field.visible_when {
            p class="help" {
                "Only where " (other(&when.field)) " is " (when.accepted.join(" or ")) "."
            }
        }
        @if let Some(at) = method.saved_at.get(&field.name).filter(|_| field.secret) {
            p class="help" { "Saved on " (at.get(..10).unwrap_or(at)) ". It is not shown; enter it again." }
        }
    }
}

fn control(method: &FormMethod, filled: &Filled, field: &Field, id: &str, wrong: bool) -> Markup {
    let (name, value) = (format!("{FIELD}{}", field.name), filled.value(method, field));
    let invalid = wrong.then_some("true");
    let described = format!("{id}-help");
    // Why not `required` of a field with a condition: without a script it is shown whether it is asked or not.
    let required = field.required && field.visible_when.is_none();
    let options: Vec<(&str, &str)> = match (&field.accepted, field.kind) {
        (Some(accepted), _) => accepted
            .iter()
            .map(|one| (one.value.as_str(), one.label.as_deref().unwrap_or(&one.value)))
            .collect(),
        (None, FieldType::Boolean) => vec![("true", "Yes"), ("false", "No")],
        _ => Vec::new(),
    };
    html! {
        @if !options.is_empty() {
            select id=(id) name=(name) aria-describedby=(described) aria-invalid=[invalid] required[required] {
                @if !required || value.is_none() { option value="" { "Choose…" } }
                @for (own, text) in &options { option value=(own) selected[value == Some(*own)] { (text) } }
            }
        } @else if field.kind.is_multiline() {
            textarea id=(id) name=(name) aria-describedby=(described) aria-invalid=[invalid] required[required]
                placeholder=[field.placeholder.as_deref()] autocomplete="off" spellcheck="false" {
                (value.unwrap_or_default())
            }
        } @else {
            div class=[(field.prefix.is_some() || field.suffix.is_some()).then_some("affix")] {
                @if let Some(text) = &field.prefix { span aria-hidden="true" { (text) } }
                input id=(id) name=(name) type=(kind(field)) value=[value] required[required]
                    aria-describedby=(described) aria-invalid=[invalid] placeholder=[field.placeholder.as_deref()]
                    autocomplete=(if field.secret { "new-password" } else { "off" }) spellcheck="false";
                @if let Some(text) = &field.suffix { span aria-hidden="true" { (text) } }
            }
        }
    }
}

/// The type of an input. Why text for URLs and numbers: the product reads them, in the forms that people paste.
const fn kind(field: &Field) -> &'static str {
    match field.kind {
        _ if field.secret => "password",
        FieldType::Email => "email",
        _ => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, secret: bool) -> Field {
        Field {
            name: name.to_owned(),
            label: Some("A <b>label</b>".to_owned()),
            required: true,
            secret,
            ..Field::default()
        }
    }

    fn method(fields: Vec<Field>) -> FormMethod {
        FormMethod {
            id: "default".to_owned(),
            label: None,
            recommended: false,
            consent: false,
            fields,
            is_saved: false,
            replaces: false,
            values: BTreeMap::from([("key".to_owned(), "saved-secret".to_owned())]),
            saved_at: BTreeMap::new(),
        }
    }

    #[test]
    fn a_secret_is_never_in_the_page_and_what_else_was_sent_is_escaped() {
        let method = method(vec![field("key", true), field("host", false)]);
        let sent = |name: &str| match name {
            "field.key" => Some("sent-secret"),
            "field.host" => Some("\"><script>x"),
            _ => None,
        };
        let errors = vec![
            Violation::new("/config/host", "wrong_form", "host must be a host name"),
            Violation::new("/config", "not_injectable", "no <i>"),
        ];
        let filled = Filled::of(&method.fields, sent, errors);
        let text = fields(&method, &filled).into_string();
        assert!(!text.contains("sent-secret") && !text.contains("saved-secret"), "{text}");
        assert!(text.contains("value=\"&quot;&gt;&lt;script&gt;x\""), "{text}");
        assert!(text.contains("A &lt;b&gt;label&lt;/b&gt; must be a host name"), "{text}");
        assert!(!text.contains("<script>") && !text.contains("<b>"), "{text}");
        assert_eq!(filled.general().collect::<Vec<_>>(), ["no <i>"]);
        let before = fields(&method, &Filled::default()).into_string();
        assert!(!before.contains("saved-secret") && !before.contains("aria-invalid"), "{before}");
    }

    #[test]
    fn fields_of_a_group_stand_together_below_its_heading() {
        let in_group =
            |name: &str, group: Option<&str>| Field { group: group.map(str::to_owned), ..field(name, false) };
        let method =
            method(vec![in_group("a", Some("One")), in_group("b", None), in_group("c", Some("One"))]);
        let text = fields(&method, &Filled::default()).into_string();
        let at = |part: &str| text.find(part).unwrap();
        assert!(at("<legend>One") < at("f-a") && at("f-a") < at("f-c") && at("f-c") < at("f-b"), "{text}");
    }
}
