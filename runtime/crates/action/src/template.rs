//! Templates: literal text with `{{scope.name | filter}}` in it.
//!
//! Parsing is strict (an unclosed brace, an unknown scope or an unknown filter is an error with its
//! offset), evaluation never scans substituted text again, and the filter list is closed. Encoding a
//! value for its position is done in `escape`, filters in `filter`;
//! this module only parses the text.

use std::fmt;

pub use crate::filter::{Filter, Tables, Unfiltered, apply_filters, parse_filters, tables_of};
use crate::filter::{FilterError, parse_filter, split_outside_quotes};
pub use crate::scalar::{is_integer, scalar_text};

/// Longest template, bytes. A URL is at most 8 KiB; a template need not be longer.
pub const TEMPLATE_BYTES_MAX: usize = 8192;
/// Maximum variables in one template.
pub const TEMPLATE_VARIABLES_MAX: usize = 64;

/// Where a variable's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `{{input.x}}`: an input of the action.
    Input,
    /// `{{config.x}}`: a non-secret value of the workspace's connection.
    Config,
    /// `{{action.id}}`.
    Action,
    /// `{{run.id}}`.
    Run,
    /// `{{source.a.b}}`: the event's document; in automations only.
    Source,
    /// `{{cred.x}}`: a secret; legal only in `auth`, never reaches a guest.
    Cred,
    /// `{{now}}`: the time of the call, in milliseconds since 1970; RFC 3339 without a filter.
    Now,
    /// `{{sign.signature}}`, `{{sign.timestamp}}`, `{{sign.nonce}}`: made by the host's signer; legal
    /// only in `auth`.
    Sign,
    /// `{{jwt.token}}`: made by the host's signer; legal only in `auth`.
    Jwt,
    /// `{{line.x}}`: an entry of a list that a mapping goes through, under the name that it gave. The variable's name
    /// begins with that.
    Entry,
}

impl Scope {
    /// The scope of that word.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "input" => Self::Input,
            "config" => Self::Config,
            "action" => Self::Action,
            "run" => Self::Run,
            "source" => Self::Source,
            "cred" => Self::Cred,
            "now" => Self::Now,
            "sign" => Self::Sign,
            "jwt" => Self::Jwt,
            _ => return None,
        })
    }

    /// The word before the dot.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Config => "config",
            Self::Action => "action",
            Self::Run => "run",
            Self::Source => "source",
            Self::Cred => "cred",
            Self::Now => "now",
            Self::Sign => "sign",
            Self::Jwt => "jwt",
            Self::Entry => "",
        }
    }

    /// Whether this scope can have that name.
    fn has(self, name: &str) -> bool {
        match self {
            Self::Action | Self::Run => name == "id",
            Self::Sign => matches!(name, "signature" | "timestamp" | "nonce"),
            Self::Jwt => name == "token",
            Self::Now => name.is_empty(),
            Self::Input | Self::Config | Self::Source | Self::Cred | Self::Entry => {
                !name.is_empty() && !name.contains(['{', '}', '\'']) && !name.chars().any(char::is_control)
            }
        }
    }
}

/// One `{{…}}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    /// Where the value comes from.
    pub scope: Scope,
    /// The name inside the scope, empty for [`Scope::Now`]; for [`Scope::Source`] and, if no input
    /// has exactly that name, for [`Scope::Input`] a dotted path.
    pub name: String,
    /// Whether it is `{{+scope.name}}`: several path segments; legal only where it fills one segment of a URL.
    pub multi: bool,
    /// Applied from left to right.
    pub filters: Vec<Filter>,
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.scope.word(), self.name.as_str()) {
            ("", name) => f.write_str(name),
            (word, "") => f.write_str(word),
            (word, name) => write!(f, "{word}.{name}"),
        }
    }
}

/// Literal text or a variable.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Fixed text.
    Literal(String),
    /// A value that is looked up.
    Variable(Variable),
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Template {
    /// Its parts, in order; never two literals in a row.
    pub parts: Vec<Part>,
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Longer than [`TEMPLATE_BYTES_MAX`].
    #[error("template is {0} bytes, the limit is {TEMPLATE_BYTES_MAX}")]
    TooLong(usize),
    /// More than [`TEMPLATE_VARIABLES_MAX`].
    #[error("template has more than {TEMPLATE_VARIABLES_MAX} variables")]
    TooManyVariables,
    /// `{{` without `}}`, or a lone `}}`.
    #[error("unbalanced braces at {0:?}; write {{{{scope.name}}}}")]
    Unbalanced(
        /// The author's text from there on. Why no number: the text may be joined to another one.
        String,
    ),
    /// Not `scope.name`.
    #[error(
        "{text:?} is not a variable; write one of input.x, config.x, action.id, run.id, now, source.x, \
         and in auth alone cred.x, sign.signature, sign.timestamp, sign.nonce, jwt.token"
    )]
    NotAVariable {
        /// The text between the braces.
        text: String,
    },
    /// Not a filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// `{{+…}}` where it is not a whole segment of a URL's path.
    #[error("{{{{+{0}}}}} must fill one segment of a URL's path alone")]
    MultiMisplaced(String),
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TemplateError`] naming the offending text.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::parse_within(text, &[])
    }

    /// Parses a template of a mapping in which the entries of lists have these names.
    ///
    /// # Errors
    /// As [`Self::parse_text`].
    pub(crate) fn parse_with_entries(text: &str, entries: &[&str]) -> Result<Self, TemplateError> {
        Self::parse_within(text, entries)?.without_multi()
    }

    fn parse_within(text: &str, entries: &[&str]) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::TooLong(text.len()));
        }
        // Why: most texts of a plan are fixed, and starting a search for two characters is expensive.
        if !text.bytes().any(|byte| matches!(byte, b'{' | b'}')) {
            let literal = Part::Literal(text.to_owned());
            return Ok(Self { parts: if text.is_empty() { Vec::new() } else { vec![literal] } });
        }
        let mut parts = Vec::new();
        let mut variables = 0_usize;
        let mut rest = text;
        loop {
            let Some((literal, after)) = rest.split_once("{{") else {
                push_literal(rest, &mut parts)?;
                return Ok(Self { parts });
            };
            push_literal(literal, &mut parts)?;
            let Some((inner, tail)) = split_at_close(after) else {
                return Err(unbalanced(rest.get(literal.len()..).unwrap_or(rest)));
            };
            parts.push(Part::Variable(parse_variable(inner, entries)?));
            variables += 1;
            if variables > TEMPLATE_VARIABLES_MAX {
                return Err(TemplateError::TooManyVariables);
            }
            rest = tail;
        }
    }

    /// Parses a template that is not a URL: `{{+…}}` is not legal in it.
    ///
    /// # Errors
    /// [`TemplateError`] naming the offending text.
    pub fn parse_text(text: &str) -> Result<Self, TemplateError> {
        Self::parse(text)?.without_multi()
    }

    fn without_multi(self) -> Result<Self, TemplateError> {
        let misplaced = self.variables().find(|v| v.multi).map(ToString::to_string);
        misplaced.map_or(Ok(self), |variable| Err(TemplateError::MultiMisplaced(variable)))
    }

    /// The texts between the variables.
    pub(crate) fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(text) => Some(text.as_str()),
            Part::Variable(_) => None,
        })
    }

    /// Whether a variable stands for several path segments.
    #[must_use]
    pub fn has_multi(&self) -> bool {
        self.variables().any(|v| v.multi)
    }

    /// The variables, in order of appearance.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Literal(_) => None,
        })
    }

    /// The text, if there is no variable.
    #[must_use]
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The variable, if the template is one variable and nothing else.
    #[must_use]
    pub fn as_single_variable(&self) -> Option<&Variable> {
        match self.parts.as_slice() {
            [Part::Variable(variable)] => Some(variable),
            _ => None,
        }
    }
}

/// Most characters of a text in a message.
const SHOWN_CHARS_MAX: usize = 40;

fn unbalanced(from: &str) -> TemplateError {
    TemplateError::Unbalanced(from.chars().take(SHOWN_CHARS_MAX).collect())
}

fn push_literal(text: &str, parts: &mut Vec<Part>) -> Result<(), TemplateError> {
    if let Some(at) = text.find("}}") {
        return Err(unbalanced(text.get(at..).unwrap_or(text)));
    }
    if !text.is_empty() {
        parts.push(Part::Literal(text.to_owned()));
    }
    Ok(())
}

/// Splits at the `}}` that closes a variable, passing over quoted filter arguments.
fn split_at_close(text: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let mut previous_close: Option<usize> = None;
    for (at, ch) in text.char_indices() {
        match ch {
            '\'' => quoted = !quoted,
            '}' if !quoted => {
                if previous_close.is_some_and(|p| p + 1 == at) {
                    let start = at - 1;
                    return Some((text.get(..start)?, text.get(at + 1..)?));
                }
                previous_close = Some(at);
            }
            _ => {}
        }
    }
    None
}

fn parse_variable(inner: &str, entries: &[&str]) -> Result<Variable, TemplateError> {
    let not_a_variable = || TemplateError::NotAVariable { text: inner.trim().chars().take(80).collect() };
    let mut pieces = split_outside_quotes(inner, '|').into_iter();
    let head = pieces.next().map_or("", str::trim);
    let (multi, head) = match head.strip_prefix('+') {
        Some(head) => (true, head.trim_start()),
        None => (false, head),
    };
    let first = head.split('.').next().unwrap_or_default().trim();
    if !multi && entries.contains(&first) && Scope::Entry.has(head) {
        let filters = pieces.map(parse_filter).collect::<Result<_, FilterError>>()?;
        return Ok(Variable { scope: Scope::Entry, name: head.to_owned(), multi, filters });
    }
    let (scope, name) = match head.split_once('.') {
        Some((scope, name)) if !name.trim().is_empty() => (scope.trim(), name.trim()),
        Some(_) => return Err(not_a_variable()),
        None => (head, ""),
    };
    let scope = Scope::parse(scope).filter(|scope| scope.has(name)).ok_or_else(not_a_variable)?;
    let filters = pieces.map(parse_filter).collect::<Result<_, FilterError>>()?;
    Ok(Variable { scope, name: name.to_owned(), multi, filters })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::budget::Budget;
    use serde_json::{Value, json};

    #[test]
    fn a_missing_brace_is_shown_in_the_authors_own_text() {
        for (text, shown) in [
            ("/users/{{input.id/posts", "{{input.id/posts"),
            ("{{config.a}}/x{{input.id}", "{{input.id}"),
            ("/users/input.id}}/posts", "}}/posts"),
        ] {
            let told = Template::parse(text).unwrap_err().to_string();
            assert_eq!(told, format!("unbalanced braces at {shown:?}; write {{{{scope.name}}}}"), "{text}");
        }
    }

    #[test]
    fn literals_and_variables_alternate() {
        let t = Template::parse("a{{ input.x }}b{{config.y|lower}}").unwrap();
        assert_eq!(t.parts.len(), 4);
        let names: Vec<String> = t.variables().map(ToString::to_string).collect();
        assert_eq!(names, ["input.x", "config.y"]);
        assert_eq!(Template::parse("plain").unwrap().as_literal(), Some("plain"));
        assert_eq!(Template::parse("").unwrap().as_literal(), Some(""));
    }

    #[test]
    fn what_is_not_a_variable_is_refused_with_its_text() {
        for bad in [
            "{{}}",
            "{{x}}",
            "{{env.PATH}}",
            "{{input.}}",
            "{{action.name}}",
            "{{ input.a{b }}",
            "{{now.x}}",
            "{{now.}}",
            "{{sign.key}}",
            "{{jwt.x}}",
            "{{+}}",
            "{{++input.x}}",
        ] {
            assert!(matches!(Template::parse(bad), Err(TemplateError::NotAVariable { .. })), "{bad}");
        }
        for bad in ["{{input.x", "a}}b", "{{input.x}}}}", "{{input.x}"] {
            assert!(matches!(Template::parse(bad), Err(TemplateError::Unbalanced(_))), "{bad}");
        }
        for bad in ["{{input.x|eval}}", "{{input.x|default:1}}", "{{input.x|lower:'a'}}", "{{input.x|}}"] {
            assert!(matches!(Template::parse(bad), Err(TemplateError::Filter(_))), "{bad}");
        }
    }

    #[test]
    fn scopes_of_fixed_names_and_several_segments_are_read() {
        let text =
            "{{now}}{{now|date:'%Y}}'}}{{sign.signature}}{{jwt.token}}{{+input.path|trim}}{{ + input.p }}";
        let t = Template::parse(text).unwrap();
        let names: Vec<String> = t.variables().map(ToString::to_string).collect();
        assert_eq!(names, ["now", "now", "sign.signature", "jwt.token", "input.path", "input.p"]);
        assert_eq!(t.variables().filter(|v| v.multi).count(), 2);
        assert!(t.has_multi());
        assert_eq!(Template::parse_text(text), Err(TemplateError::MultiMisplaced("input.path".to_owned())));
        assert!(Template::parse_text("{{input.path}}").is_ok_and(|t| !t.has_multi()));
    }

    #[test]
    fn quoted_arguments_may_hold_separators_and_braces() {
        let t = Template::parse("{{input.x|default:'a|b}}c'}}!").unwrap();
        let variable = t.variables().next().unwrap();
        assert_eq!(variable.filters, [Filter::Default("a|b}}c".to_owned())]);
        assert_eq!(t.parts.last(), Some(&Part::Literal("!".to_owned())));
    }

    #[test]
    fn limits_hold_at_their_border() {
        assert!(Template::parse(&"x".repeat(TEMPLATE_BYTES_MAX)).is_ok());
        assert!(Template::parse(&"x".repeat(TEMPLATE_BYTES_MAX + 1)).is_err());
        assert!(Template::parse(&"{{run.id}}".repeat(TEMPLATE_VARIABLES_MAX)).is_ok());
        assert!(Template::parse(&"{{run.id}}".repeat(TEMPLATE_VARIABLES_MAX + 1)).is_err());
    }

    #[test]
    fn filters_keep_types_where_they_do_not_apply() {
        let run = |value: Option<Value>, filters: &[Filter]| {
            let budget = Budget::rendering(1 << 10);
            apply_filters(value.map(Cow::Owned), filters, &Tables::new(), &budget)
                .unwrap()
                .map(Cow::into_owned)
        };
        let up = [Filter::Trim, Filter::Upper];
        assert_eq!(run(Some(json!(" a ")), &up), Some(json!("A")));
        assert_eq!(run(Some(json!(5)), &up), Some(json!(5)));
        let default = [Filter::Default("d".into())];
        assert_eq!(run(None, &default), Some(json!("d")));
        assert_eq!(run(Some(json!(null)), &default), Some(json!("d")));
        assert_eq!(run(Some(json!("")), &default), Some(json!("")));
        assert_eq!(run(Some(json!([1])), &[Filter::Json]), Some(json!("[1]")));
    }
}
