//! The configuration file: TOML, whose unknown keys are errors.

use std::path::Path;

/// Keys of the file besides `limits.*`.
const KEYS: &[&str] = &[
    "node_id",
    "listen",
    "data_dir",
    "store",
    "store_ca_file",
    "store_password_file",
    "store_migrate",
    "master_key_file",
    "master_key_command",
    "bootstrap_token_file",
    "public_url",
    "egress.ca_file",
    "egress.dns_servers",
    "ledger.sync",
    "anchor_file",
    "metrics.listen",
    "modules.trusted_keys",
    "modules.require_signature",
    "modules.allow_std",
    "backup.recipient",
    "trusted_proxies",
    "log",
];

/// What a configuration file says.
#[derive(Default)]
pub(super) struct File {
    values: Vec<(String, toml::Value)>,
    pub(super) limits: Vec<(String, String)>,
}

impl File {
    fn get(&self, key: &str) -> Option<&toml::Value> {
        self.values.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.get(key).and_then(toml::Value::as_str).map(str::to_owned)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.get(key).and_then(toml::Value::as_bool).unwrap_or_default()
    }

    pub(super) fn list(&self, key: &str) -> Vec<String> {
        let items = self.get(key).and_then(toml::Value::as_array);
        items.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
    }
}

impl File {
    /// A list: that of a flag, with commas, or else that of the file.
    pub(super) fn list_or(&self, key: &str, flag: Option<&str>) -> Vec<String> {
        match flag {
            Some(text) => text.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect(),
            None => self.list(key),
        }
    }
}

/// Reads the file, if one was named.
pub(super) fn read_file(path: Option<&Path>, errors: &mut Vec<String>) -> File {
    let Some(path) = path else {
        return File::default();
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) => {
            errors.push(format!("configuration file {} cannot be read: {e}", path.display()));
            return File::default();
        }
    };
    match text.parse::<toml::Table>() {
        Ok(table) => flatten(&table, errors),
        Err(e) => {
            errors.push(format!("configuration file {}: {}", path.display(), e.message()));
            File::default()
        }
    }
}

fn flatten(table: &toml::Table, errors: &mut Vec<String>) -> File {
    let mut file = File::default();
    for (name, value) in table {
        match value {
            toml::Value::Table(inner) => {
                for (inner_name, value) in inner {
                    if name == "limits" {
                        file.limits.push((inner_name.clone(), value.to_string()));
                    } else {
                        file.values.push((format!("{name}.{inner_name}"), value.clone()));
                    }
                }
            }
            _ => file.values.push((name.clone(), value.clone())),
        }
    }
    for (key, value) in &file.values {
        if !KEYS.contains(&key.as_str()) {
            let near = portcullis_core::violation::nearest(key, KEYS.iter().copied());
            let hint = near.map_or_else(String::new, |n| format!("; did you mean {n}?"));
            errors.push(format!("unknown key {key} in the configuration file{hint}"));
        }
        let (fits, form) = match key.as_str() {
            "egress.dns_servers" | "master_key_command" | "modules.trusted_keys" | "trusted_proxies" => {
                (value.as_array().is_some_and(|list| list.iter().all(toml::Value::is_str)), "a list of texts")
            }
            "modules.require_signature" | "modules.allow_std" | "store_migrate" => {
                (value.is_bool(), "true or false")
            }
            _ => (value.is_str(), "a text"),
        };
        if !fits {
            errors.push(format!("{key} must be {form}"));
        }
    }
    file
}
