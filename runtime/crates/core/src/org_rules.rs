//! An org's rules: which connectors it uses, and what their actions may do. Pure: no records are read here.
//!
//! The verdict on one action of one connector is worked out once, when a call is prepared, and stands with the lists in
//! [`HostRules`](crate::verdict::HostRules): the gate judges every request by it, also by one that was made later.

use portcullis_action::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::definition::Effect;
use crate::fault::Code;
use crate::id::{ActionId, ConnectorId};
use crate::verdict::{CheckVerdict, Decision};

/// Which connectors an org uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectorsMode {
    /// Every one that the platform offers.
    #[default]
    All,
    /// Those that are listed.
    Listed,
}

/// The connectors that an org uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectorsRule {
    /// All, or those in `listed`.
    pub mode: ConnectorsMode,
    /// Ids of connectors, which count with the mode `listed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listed: Vec<String>,
}

/// What a rule does to what it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleVerdict {
    /// It is refused.
    Block,
    /// It is allowed, and recorded as what would be refused.
    Report,
}

/// A rule of an org. It matches what all of its members match; one that is left out matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionRule {
    /// Ids of connectors; `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    pub connectors: Option<Vec<String>>,
    /// Ids of actions, or `connector/action`; `*` stands for any characters of an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    pub actions: Option<Vec<String>>,
    /// What the actions do at the third party, as their definition says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Effect>")]
    pub effects: Option<Vec<Effect>>,
    /// What becomes of what matches.
    pub verdict: RuleVerdict,
}

/// What is asked of the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked<'a> {
    /// An action.
    Action {
        /// Its id.
        action: &'a str,
        /// What it does.
        effect: Effect,
        /// Whether a module makes its requests: then each counts by its method, too, because what the module does is
        /// its own word.
        is_module: bool,
    },
    /// The connection itself: a consent, a credential's test, a token that is given back. It is blocked where no action
    /// of the connector can be allowed.
    Connection,
}

/// An org's rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrgRules {
    /// Which connectors it uses.
    pub connectors: ConnectorsRule,
    /// What their actions may do; the first rule that matches counts.
    pub actions: Vec<ActionRule>,
}

/// The verdict of an org's rules on one action, or on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RulesVerdict {
    /// Whether the org uses the connector.
    pub is_connector_allowed: bool,
    /// What the first rule that matches says.
    pub action: Option<RuleVerdict>,
    /// Of a module's action: the same if it wrote.
    pub if_it_writes: Option<RuleVerdict>,
    /// Of a module's action: the same if it deleted.
    pub if_it_deletes: Option<RuleVerdict>,
}

impl RulesVerdict {
    /// Where there are no rules.
    pub const ALLOWED: Self =
        Self { is_connector_allowed: true, action: None, if_it_writes: None, if_it_deletes: None };

    /// The verdict on a request of this method.
    #[must_use]
    pub fn of_method(&self, method: Method) -> Self {
        let of_method = match method {
            Method::Delete => self.if_it_deletes,
            Method::Put | Method::Patch => self.if_it_writes,
            // Why not of POST: many vendors are read by it.
            _ => None,
        };
        let action = match (self.action, of_method) {
            (Some(RuleVerdict::Block), _) | (_, Some(RuleVerdict::Block)) => Some(RuleVerdict::Block),
            (own, None) => own,
            (_, reported) => reported,
        };
        Self { action, ..*self }
    }

    /// Why they refuse it.
    #[must_use]
    pub const fn refusal(&self) -> Option<Code> {
        match self {
            Self { is_connector_allowed: false, .. } => Some(Code::ConnectorNotAllowed),
            Self { action: Some(RuleVerdict::Block), .. } => Some(Code::ActionNotAllowed),
            Self { .. } => None,
        }
    }

    /// The two checks in their order; the first that refuses is the last.
    #[must_use]
    pub fn decisions(&self) -> Vec<Decision> {
        let mut decisions = Vec::new();
        self.add_to(&mut decisions);
        decisions
    }

    /// Adds the two checks to those that were made before.
    pub(crate) fn add_to(&self, decisions: &mut Vec<Decision>) {
        if !self.is_connector_allowed {
            decisions.push(Decision::refuse("org_connectors", Code::ConnectorNotAllowed));
            return;
        }
        let action = match self.action {
            None => Decision::pass("org_actions", None),
            Some(RuleVerdict::Block) => Decision::refuse("org_actions", Code::ActionNotAllowed),
            Some(RuleVerdict::Report) => Decision {
                check: "org_actions",
                verdict: CheckVerdict::WouldRefuse,
                matched: None,
                code: Some(Code::ActionNotAllowed),
            },
        };
        decisions.extend([Decision::pass("org_connectors", None), action]);
    }
}

impl OrgRules {
    /// Whether nothing is restricted.
    #[must_use]
    pub fn are_open(&self) -> bool {
        self.connectors.mode == ConnectorsMode::All && self.actions.is_empty()
    }

    /// The verdict on what is asked of a connector.
    #[must_use]
    pub fn judge(&self, connector: &str, asked: Asked<'_>) -> RulesVerdict {
        let is_listed = || self.connectors.listed.iter().any(|listed| listed == connector);
        let is_connector_allowed = self.connectors.mode == ConnectorsMode::All || is_listed();
        let if_it = |effect| match asked {
            Asked::Action { action, is_module: true, .. } => {
                self.first(connector, Asked::Action { action, effect, is_module: true })
            }
            _ => None,
        };
        RulesVerdict {
            is_connector_allowed,
            action: self.first(connector, asked),
            if_it_writes: if_it(Effect::Write),
            if_it_deletes: if_it(Effect::Delete),
        }
    }

    fn first(&self, connector: &str, asked: Asked<'_>) -> Option<RuleVerdict> {
        let of_connector = self.actions.iter().filter(|rule| rule.is_of_connector(connector));
        match asked {
            Asked::Action { action, effect, .. } => {
                let mut matching = of_connector.filter(|rule| rule.is_of_action(connector, action, effect));
                matching.next().map(|rule| rule.verdict)
            }
            Asked::Connection => {
                // Why: what a rule reports before a block is allowed, and needs a connection.
                let mut deciding = of_connector
                    .filter(|rule| rule.verdict == RuleVerdict::Report || rule.is_of_all_actions());
                deciding.next().map(|rule| rule.verdict).filter(|verdict| *verdict == RuleVerdict::Block)
            }
        }
    }
}

impl ActionRule {
    fn is_of_connector(&self, connector: &str) -> bool {
        let any = |patterns: &Vec<String>| patterns.iter().any(|pattern| matches(pattern, connector));
        self.connectors.as_ref().is_none_or(any)
    }

    fn is_of_all_actions(&self) -> bool {
        self.actions.is_none() && self.effects.is_none()
    }

    fn is_of_action(&self, connector: &str, action: &str, effect: Effect) -> bool {
        let any =
            |patterns: &Vec<String>| patterns.iter().any(|pattern| is_named(pattern, connector, action));
        self.actions.as_ref().is_none_or(any)
            && self.effects.as_ref().is_none_or(|effects| effects.contains(&effect))
    }
}

/// Whether `connector/action`, or an action of any connector, names this one.
#[must_use]
pub fn is_named(pattern: &str, connector: &str, action: &str) -> bool {
    match pattern.split_once('/') {
        Some((of, name)) => matches(of, connector) && matches(name, action),
        None => matches(pattern, action),
    }
}

/// Whether a text is a pattern of an id: `*` and the characters of ids.
#[must_use]
pub fn is_connector_pattern(pattern: &str) -> bool {
    is_pattern(pattern, |plain| ConnectorId::parse(plain).is_ok())
}

/// Whether a text is a pattern of an action's id.
#[must_use]
pub fn is_action_pattern(pattern: &str) -> bool {
    is_pattern(pattern, |plain| ActionId::parse(plain).is_ok())
}

fn is_pattern(pattern: &str, is_id: impl Fn(&str) -> bool) -> bool {
    // Why a letter: an id may not begin with every character that one may have.
    let plain = pattern.replace('*', "x");
    // Why one in a row: more mean the same, and would only cost time.
    !pattern.contains("**") && is_id(&plain)
}

/// Whether a text matches a pattern, whose `*` stand for any characters. The work is at most the product of the lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, mut rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    // Why the first place of each part is enough: what is skipped is taken by the `*` before it.
    while let Some((part, further)) = rest.split_once('*') {
        let Some((_, behind)) = text.split_once(part) else { return false };
        (text, rest) = (behind, further);
    }
    text.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(connectors: &[&str], actions: &[&str], effects: &[Effect], verdict: RuleVerdict) -> ActionRule {
        let some = |texts: &[&str]| {
            (!texts.is_empty()).then(|| texts.iter().map(|text| (*text).to_owned()).collect())
        };
        ActionRule {
            connectors: some(connectors),
            actions: some(actions),
            effects: (!effects.is_empty()).then(|| effects.to_vec()),
            verdict,
        }
    }

    fn rules(actions: Vec<ActionRule>) -> OrgRules {
        OrgRules { actions, ..OrgRules::default() }
    }

    fn code(rules: &OrgRules, connector: &str, action: &str, effect: Effect) -> Option<&'static str> {
        rules.judge(connector, Asked::Action { action, effect, is_module: false }).refusal().map(Code::as_str)
    }

    #[test]
    fn only_a_listed_connector_is_used_where_they_are_listed() {
        let listed = vec!["crm".to_owned()];
        let mut all = OrgRules::default();
        all.connectors.listed.clone_from(&listed);
        assert!(all.are_open(), "the list counts with its mode");
        assert_eq!(code(&all, "mail", "send", Effect::Write), None);
        let connectors = ConnectorsRule { mode: ConnectorsMode::Listed, listed };
        let some = OrgRules { connectors, ..OrgRules::default() };
        assert_eq!(code(&some, "crm", "send", Effect::Write), None);
        assert_eq!(code(&some, "crm2", "send", Effect::Write), Some("connector_not_allowed"));
        assert_eq!(some.judge("mail", Asked::Connection).refusal(), Some(Code::ConnectorNotAllowed));
        let none = ConnectorsRule { mode: ConnectorsMode::Listed, listed: Vec::new() };
        let none = OrgRules { connectors: none, ..OrgRules::default() };
        assert_eq!(code(&none, "crm", "send", Effect::Read), Some("connector_not_allowed"));
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let no_deletes = rule(&[], &[], &[Effect::Delete], RuleVerdict::Block);
        let but_drafts = rule(&["crm"], &["delete-draft*"], &[], RuleVerdict::Report);
        let rules = rules(vec![but_drafts, no_deletes]);
        assert_eq!(code(&rules, "crm", "delete-contact", Effect::Delete), Some("action_not_allowed"));
        assert_eq!(code(&rules, "crm", "delete-draft", Effect::Delete), None);
        assert_eq!(code(&rules, "mail", "delete-draft", Effect::Delete), Some("action_not_allowed"));
        assert_eq!(code(&rules, "crm", "list", Effect::Read), None);
        let reported = rules.judge(
            "crm",
            Asked::Action { action: "delete-drafts", effect: Effect::Delete, is_module: false },
        );
        let last = reported.decisions().pop().unwrap();
        assert_eq!((last.check, last.verdict), ("org_actions", CheckVerdict::WouldRefuse));
    }

    #[test]
    fn a_connection_is_blocked_where_no_action_can_be_allowed() {
        let all = rule(&["crm"], &[], &[], RuleVerdict::Block);
        let reads = rule(&["crm"], &[], &[Effect::Read], RuleVerdict::Report);
        let no_writes = rule(&[], &[], &[Effect::Write, Effect::Delete], RuleVerdict::Block);
        let refusal = |rules: &OrgRules, of: &str| rules.judge(of, Asked::Connection).refusal();
        assert_eq!(refusal(&rules(vec![all.clone()]), "crm"), Some(Code::ActionNotAllowed));
        assert_eq!(refusal(&rules(vec![all.clone()]), "mail"), None);
        assert_eq!(refusal(&rules(vec![reads, all.clone()]), "crm"), None, "reads are allowed");
        assert_eq!(refusal(&rules(vec![no_writes.clone()]), "crm"), None);
        assert_eq!(refusal(&rules(vec![no_writes, all]), "crm"), Some(Code::ActionNotAllowed));
    }

    #[test]
    fn a_request_of_a_module_counts_by_its_method_as_well() {
        let no_deletes = rules(vec![rule(&[], &[], &[Effect::Delete], RuleVerdict::Block)]);
        let no_writes = rules(vec![rule(&[], &[], &[Effect::Write], RuleVerdict::Block)]);
        let refused = |rules: &OrgRules, is_module, method| {
            let asked = Asked::Action { action: "sync", effect: Effect::Read, is_module };
            rules.judge("crm", asked).of_method(method).refusal().is_some()
        };
        for (method, by_deletes, by_writes) in [
            (Method::Get, false, false),
            (Method::Post, false, false),
            (Method::Put, false, true),
            (Method::Patch, false, true),
            (Method::Delete, true, false),
        ] {
            assert_eq!(refused(&no_deletes, true, method), by_deletes, "{method}");
            assert_eq!(refused(&no_writes, true, method), by_writes, "{method}");
            // The neighbour: what a definition says of its own request is what it does.
            assert!(!refused(&no_deletes, false, method) && !refused(&no_writes, false, method));
        }
    }

    #[test]
    fn a_star_stands_for_any_characters_of_one_id() {
        for (pattern, yes, no) in [
            ("delete-*", "delete-contact", "undelete-contact"),
            ("*-contact", "list-contact", "list-contacts"),
            ("*", "anything", ""),
            ("a*b*c", "axxbyyc", "axxcyyb"),
            ("list", "list", "lists"),
            ("a*a", "aa", "a"),
        ] {
            assert!(matches(pattern, yes), "{pattern} {yes}");
            assert!(no.is_empty() || !matches(pattern, no), "{pattern} {no}");
        }
        assert!(is_named("crm/*", "crm", "list") && !is_named("crm/*", "crm2", "list"));
        assert!(is_named("list", "crm", "list") && !is_named("*/lists", "crm", "list"));
    }

    #[test]
    fn patterns_are_ids_with_stars() {
        for sound in ["*", "crm", "crm-*", "*_x", "a*b*c"] {
            assert!(is_connector_pattern(sound) && is_action_pattern(sound), "{sound}");
        }
        for broken in ["", "**", "a/b", "a b", "-a", "a**b"] {
            assert!(!is_connector_pattern(broken) && !is_action_pattern(broken), "{broken}");
        }
        assert!(is_action_pattern("List.All") && !is_connector_pattern("List.All"));
    }

    #[test]
    fn refusals_end_the_checks_and_what_passes_is_said() {
        use CheckVerdict::{Pass, Refuse};
        let checks = |verdict: RulesVerdict| {
            verdict.decisions().iter().map(|one| (one.check, one.verdict)).collect::<Vec<_>>()
        };
        assert_eq!(checks(RulesVerdict::ALLOWED), [("org_connectors", Pass), ("org_actions", Pass)]);
        let block = Some(RuleVerdict::Block);
        let unused = RulesVerdict { is_connector_allowed: false, action: block, ..RulesVerdict::ALLOWED };
        assert_eq!(checks(unused), [("org_connectors", Refuse)]);
        let blocked = RulesVerdict { action: block, ..RulesVerdict::ALLOWED };
        assert_eq!(checks(blocked), [("org_connectors", Pass), ("org_actions", Refuse)]);
    }
}
