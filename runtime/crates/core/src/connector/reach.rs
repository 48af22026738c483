//! Where a connector's requests may go: whether a URL template can only lead to allowed hosts and listed
//! ports, whatever its variables are.

use portcullis_action::{UrlTemplate, escape};

use crate::definition::{Definition, EnumValue, FieldDef, FieldType};
use crate::host_pattern::{self, HostPattern};
use crate::target::DEFAULT_PORT;
use crate::violation::{Violation, Violations};

/// The hosts and ports of a definition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach<'a> {
    allowed: &'a [HostPattern],
    ports: &'a [u16],
    /// Where a host may be chosen from a list.
    config_fields: &'a [FieldDef],
    /// Whether every entry of the list was valid.
    whole: bool,
}

impl<'a> Reach<'a> {
    /// `allowed` are the valid entries of the definition's list.
    pub(super) fn new(definition: &'a Definition, allowed: &'a [HostPattern]) -> Self {
        let whole = allowed.len() == definition.allowed_domains.len();
        Self { allowed, ports: &definition.egress.ports, config_fields: &definition.config_fields, whole }
    }

    /// Reports where a URL could lead outside.
    pub(super) fn check(self, url: &UrlTemplate, pointer: &str, errors: &mut Violations) -> bool {
        let before = errors.len();
        // Why only when every entry is valid: an invalid entry would be reported twice.
        if let Some(variable) = url.host_variable() {
            self.check_choice(&variable.name, pointer, errors);
        } else if self.whole && !self.allowed.iter().any(|pattern| pattern.covers(url)) {
            let list: Vec<String> = self.allowed.iter().map(ToString::to_string).collect();
            let message = format!(
                "host {} is not inside allowed_domains ({}) for every value",
                url.host_text(),
                list.join(", ")
            );
            errors.push(Violation::new(pointer, "template_host_outside_allowed_domains", message));
        }
        let port = url.port.unwrap_or(DEFAULT_PORT);
        if port != DEFAULT_PORT && !self.ports.contains(&port) {
            let message = format!("port {port} is not in egress.ports");
            errors.push(Violation::new(pointer, "port_not_listed", message));
        }
        errors.len() == before
    }

    /// A config field that is the whole host: each of its values must be a host of the list.
    fn check_choice(self, name: &str, pointer: &str, errors: &mut Violations) {
        let field = self.config_fields.iter().find(|field| field.name == name);
        let chosen = field.filter(|field| field.r#type == FieldType::Select && field.computed.is_none());
        let Some(accepted) = chosen.and_then(|field| field.r#enum.as_ref()).filter(|list| !list.is_empty())
        else {
            let message = format!(
                "config.{name} is the whole host, so it must be a field of config_fields of type select whose values \
                 are hosts inside allowed_domains"
            );
            errors.push(Violation::new(pointer, "template_host_outside_allowed_domains", message));
            return;
        };
        let outside = |value: &&EnumValue| {
            let mut host = String::new();
            let is_host = escape::host(&value.value, &mut host).is_ok();
            !is_host || self.whole && !self.allowed.iter().any(|pattern| pattern.matches(&host))
        };
        for value in accepted.iter().filter(outside) {
            let message =
                format!("{:?}, a value of config.{name}, is not a host inside allowed_domains", value.value);
            errors.push(Violation::new(pointer, "template_host_outside_allowed_domains", message));
        }
    }
}

/// The valid entries of `allowed_domains`.
pub(super) fn domains(
    definition: &Definition,
    errors: &mut Violations,
    warnings: &mut Violations,
) -> Vec<HostPattern> {
    let entries = definition.allowed_domains.iter().map(String::as_str);
    let patterns = host_pattern::parse_list("/allowed_domains", entries, errors);
    let entries = definition.allowed_domains.iter();
    warnings.extend(host_pattern::shared_hosting_warnings("/allowed_domains", entries));
    patterns
}
