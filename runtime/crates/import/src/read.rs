//! Reads a description's text: JSON, otherwise YAML.
//!
//! YAML is read by `serde-saphyr`: it is maintained, pure safe Rust, supports YAML 1.2, and bounds alias
//! expansion, which the wrappers of libyaml leave to the caller.

use serde_json::Value;

use crate::ImportError;
use crate::limits::{DOCUMENT_BYTES_MAX, YAML_DEPTH_MAX, YAML_NODES_MAX};

/// Reads JSON or YAML.
///
/// # Errors
/// [`ImportError::TooLarge`], or [`ImportError::Syntax`] with the position of the fault.
pub fn read(text: &str) -> Result<Value, ImportError> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(ImportError::TooLarge { bytes: text.len() });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Why not YAML for everything: JSON is read ten times faster as JSON, and its faults are reported
    // in JSON's terms.
    if text.trim_start().starts_with('{') {
        match serde_json::from_str(text) {
            Ok(document) => return Ok(document),
            Err(json) => return yaml(text).map_err(|_| ImportError::Syntax(json.to_string())),
        }
    }
    yaml(text).map_err(ImportError::Syntax)
}

fn yaml(text: &str) -> Result<Value, String> {
    let budget = serde_saphyr::budget! {
        max_nodes: YAML_NODES_MAX,
        max_events: YAML_NODES_MAX * 2,
        max_recorded_anchor_events: YAML_NODES_MAX,
        max_depth: YAML_DEPTH_MAX,
        max_documents: 1,
    };
    let options = serde_saphyr::options! {
        budget: budget,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_and_yaml_are_the_same_document() {
        let expected = json!({ "openapi": "3.0.3", "paths": { "/a": { "get": { "x": [1, "no"] } } } });
        assert_eq!(read(&expected.to_string()).unwrap(), expected);
        let yaml = "openapi: 3.0.3\npaths:\n  /a:\n    get:\n      x: [1, 'no']\n";
        assert_eq!(read(yaml).unwrap(), expected);
        assert_eq!(read("\u{feff}a: 1").unwrap(), json!({ "a": 1 }));
    }

    #[test]
    fn status_codes_may_be_bare_numbers_in_yaml() {
        assert_eq!(
            read("responses:\n  200: {d: x}\n").unwrap(),
            json!({ "responses": { "200": { "d": "x" } } })
        );
    }

    #[test]
    fn faults_are_told_with_their_place() {
        let ImportError::Syntax(json) = read("{\"a\": [}").unwrap_err() else { panic!() };
        assert!(json.contains("line 1"), "{json}");
        let ImportError::Syntax(yaml) = read("a: 1\na: 2\n").unwrap_err() else { panic!() };
        assert!(yaml.contains("line 2"), "{yaml}");
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..12 {
            let list = vec![format!("*a{}", i - 1); 9].join(",");
            text.push_str(&format!("a{i}: &a{i} [{list}]\n"));
        }
        assert!(matches!(read(&text), Err(ImportError::Syntax(_))));
        assert!(read("a: &a [1]\nb: *a\n").is_ok());
        assert!(read(&"[".repeat(5000)).is_err());
    }
}
