//! Every limit of the import, with its reason. Descriptions come from third parties: whatever
//! they contain, work and result are bounded.

/// Default for the actions of a draft; no catalog offers more to choose from.
pub const ACTIONS_MAX_DEFAULT: usize = 2000;

/// Default for the inputs of one action; a platform accepts as many by default.
pub const INPUTS_MAX_DEFAULT: usize = 200;

/// Text that is read, bytes. GitHub's whole description is 13 MB of JSON.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Values of a YAML document after its aliases are expanded. GitHub's has about 500,000.
pub(crate) const YAML_NODES_MAX: usize = 4_000_000;

/// Nesting of a YAML document; the JSON reader stops at about the same depth.
pub(crate) const YAML_DEPTH_MAX: usize = 120;

/// References followed one after another. Real descriptions have two or three.
pub(crate) const REF_HOPS_MAX: usize = 16;

/// Schemas inside schemas by reference or composition. Real ones stay below ten.
pub(crate) const SCHEMA_DEPTH_MAX: usize = 32;

/// Schemas and properties looked at in one import. GitHub's whole description needs about 7,000.
pub(crate) const SCHEMA_STEPS_MAX: usize = 300_000;

/// Parameters of one operation that are looked at.
pub(crate) const PARAMETERS_MAX: usize = 1000;

/// Items of a report; a longer one is not read.
pub(crate) const REPORT_ITEMS_MAX: usize = 10_000;

/// Longest pointer of a report item, bytes; a longer one is replaced by its nearest ancestor.
pub(crate) const POINTER_BYTES_MAX: usize = 4096;

/// Longest path of a description, bytes; with its base it must fit into a URL template (8 KiB).
pub(crate) const PATH_BYTES_MAX: usize = 2048;

/// How often what the rules refuse is left out of a draft; each time at least one operation, commonly all.
pub(crate) const CHECKS_MAX: usize = 20;

/// Entries of an `enum`; a longer list is data, not a choice.
pub(crate) const ENUM_VALUES_MAX: usize = 500;

/// Longest text among the values of an `enum` or as a default, characters.
pub(crate) const VALUE_CHARS_MAX: usize = 1000;

/// Values inside a default that is an array or object.
pub(crate) const DEFAULT_NODES_MAX: usize = 50;

/// Longest name of a connector, action or label, characters (format).
pub(crate) const NAME_CHARS_MAX: usize = 120;

/// Longest description, characters (format).
pub(crate) const DESCRIPTION_CHARS_MAX: usize = 2000;

/// Longest help of an input or field, characters (format).
pub(crate) const HELP_CHARS_MAX: usize = 1000;

/// Longest documentation URL, characters (format).
pub(crate) const DOCS_URL_CHARS_MAX: usize = 500;

/// Longest name on the wire, characters (format).
pub(crate) const WIRE_NAME_CHARS_MAX: usize = 200;

/// Longest pattern, characters (format).
pub(crate) const PATTERN_CHARS_MAX: usize = 500;

/// Hosts of a draft; more of them belong to several connectors.
pub(crate) const HOSTS_MAX: usize = 32;

/// Config fields of a draft; after that a server variable keeps its default.
pub(crate) const CONFIG_FIELDS_MAX: usize = 32;

/// Longest scope, characters (format).
pub(crate) const SCOPE_CHARS_MAX: usize = 200;

/// Scopes of a draft (format).
pub(crate) const SCOPES_MAX: usize = 100;

const _: () = assert!(PATH_BYTES_MAX < POINTER_BYTES_MAX, "an operation's pointer must fit");
