//! The verdict on a URL: do the connector's and the org's lists allow a request to it?
//!
//! The gate, the dry run and `portcullis explain` use the same function, so the explanation is what
//! happens. It is pure: names are not looked up here.

use std::sync::{Arc, RwLock};

use portcullis_action::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::Code;
use crate::host_pattern::{HostPattern, nearest_text};
use crate::org_rules::RulesVerdict;
use crate::sync::{read, write};
use crate::target::{DEFAULT_PORT, Target};

/// Whether an org's list only reports or also refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AllowlistMode {
    /// Would-be refusals are recorded, nothing is refused.
    Report,
    /// Hosts outside the list are refused.
    Enforce,
}

/// An org's restriction on where its calls may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrgPolicy {
    /// No list, no further restriction.
    Unrestricted,
    /// A list; an empty one means nothing may leave.
    List { patterns: Vec<HostPattern>, mode: AllowlistMode },
}

/// The rules that a URL is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRules {
    /// The connector's `allowed_domains`.
    pub connector: Vec<HostPattern>,
    /// Ports besides 443.
    pub ports: Vec<u16>,
    /// The org's list.
    pub org: OrgPolicy,
    /// What the org's rules say of the action that the request is made for.
    pub org_rules: RulesVerdict,
}

/// The rules of a running call. They can be replaced while it runs: each of its requests is judged by the rules of
/// its own time.
#[derive(Debug, Clone)]
pub struct LiveRules(Arc<RwLock<Arc<HostRules>>>);

impl LiveRules {
    /// The rules of now.
    #[must_use]
    pub fn current(&self) -> Arc<HostRules> {
        Arc::clone(&read(&self.0))
    }

    /// Replaces the rules for every request that begins from now on, unless they were replaced since `seen` was
    /// current: then it returns false, and `rules` may be older than those of now.
    #[must_use]
    pub fn replace(&self, seen: &Arc<HostRules>, rules: HostRules) -> bool {
        let mut current = write(&self.0);
        let unchanged = Arc::ptr_eq(&current, seen);
        if unchanged {
            *current = Arc::new(rules);
        }
        unchanged
    }
}

impl From<HostRules> for LiveRules {
    fn from(rules: HostRules) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(rules))))
    }
}

/// How one check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckVerdict {
    /// It passed.
    Pass,
    /// It refused.
    Refuse,
    /// It would have refused, had the org's list been enforced, or had the call been more than a dry run.
    WouldRefuse,
}

/// One check and how it ended; a run shows them in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Decision {
    /// Which check.
    pub check: &'static str,
    /// How it ended.
    pub verdict: CheckVerdict,
    /// The entry that matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "HostPattern")]
    pub matched: Option<HostPattern>,
    /// The code, when it refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Code")]
    pub code: Option<Code>,
}

impl Decision {
    /// A check that passed.
    #[must_use]
    pub const fn pass(check: &'static str, matched: Option<HostPattern>) -> Self {
        Self { check, verdict: CheckVerdict::Pass, matched, code: None }
    }

    /// A check that refused.
    #[must_use]
    pub const fn refuse(check: &'static str, code: Code) -> Self {
        Self { check, verdict: CheckVerdict::Refuse, matched: None, code: Some(code) }
    }
}

/// The result of checking one URL against the lists.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The URL as parsed, when it could be.
    pub target: Option<Target>,
    /// Entry of the connector's list that matched.
    pub matched_connector: Option<HostPattern>,
    /// Entry of the org's list that matched.
    pub matched_org: Option<HostPattern>,
    /// The reason of a refusal; absent when the URL may go on to the name lookup.
    pub refusal: Option<Code>,
    /// Every check in order.
    pub decisions: Vec<Decision>,
}

impl Verdict {
    /// What a refusal is about: the host, and the list that does not have it. `None` where the code says all. With the
    /// entries that come nearest: of the connector's list always, since runs show which of its entries matched; of the
    /// org's list only for readers of that list.
    #[must_use]
    pub fn refusal_text(&self, rules: &HostRules, reads_org_list: bool) -> Option<String> {
        let target = self.target.as_ref()?;
        let host = target.host();
        match self.refusal? {
            Code::PortNotAllowed => {
                let port = target.port();
                Some(format!("{host}: port {port} is not among the definition's egress.ports"))
            }
            Code::HostNotInConnector => {
                let nearest = nearest_text(&rules.connector, host);
                Some(format!("{host} is not in the connector's allowed_domains{nearest}"))
            }
            Code::HostNotInOrg => match &rules.org {
                OrgPolicy::List { patterns, .. } if reads_org_list => {
                    Some(not_in_org(host, &nearest_text(patterns, host)))
                }
                _ => Some(not_in_org(host, "")),
            },
            _ => None,
        }
    }
}

/// That a host is not in the org's list.
#[must_use]
pub fn not_in_org(host: &str, nearest: &str) -> String {
    format!("{host} is not in the org's domain_allowlist (settings/integrations){nearest}")
}

/// The check that a parse error belongs to.
const fn parse_check(code: Code) -> &'static str {
    match code {
        Code::SchemeNotHttps => "https",
        _ => "url",
    }
}

/// Judges one URL. The order is the contract: URL → https → port → connector's list → org's list → org's rules.
#[must_use]
pub fn judge(raw: &[u8], rules: &HostRules, url_bytes_max: u64) -> Verdict {
    judge_by(raw, rules, &rules.org_rules, url_bytes_max)
}

/// Judges one URL for a request of this method, by which a module's requests count as well.
#[must_use]
pub(crate) fn judge_request(raw: &[u8], method: Method, rules: &HostRules, url_bytes_max: u64) -> Verdict {
    judge_by(raw, rules, &rules.org_rules.of_method(method), url_bytes_max)
}

fn judge_by(raw: &[u8], rules: &HostRules, org_rules: &RulesVerdict, url_bytes_max: u64) -> Verdict {
    let mut verdict = Verdict {
        target: None,
        matched_connector: None,
        matched_org: None,
        refusal: None,
        // Room for the gate's decisions that follow.
        decisions: Vec::with_capacity(8),
    };
    let target = match Target::parse(raw, url_bytes_max) {
        Ok(target) => target,
        Err(code) => {
            verdict.refuse(parse_check(code), code);
            return verdict;
        }
    };
    verdict.decisions.push(Decision::pass("url", None));
    verdict.decisions.push(Decision::pass("https", None));
    let port = target.port();
    verdict.target = Some(target.clone());
    if port != DEFAULT_PORT && !rules.ports.contains(&port) {
        verdict.refuse("port", Code::PortNotAllowed);
        return verdict;
    }
    match rules.connector.iter().find(|p| p.matches(target.host())) {
        Some(pattern) => {
            verdict.matched_connector = Some(pattern.clone());
            verdict.decisions.push(Decision::pass("connector_domains", Some(pattern.clone())));
        }
        None => {
            verdict.refuse("connector_domains", Code::HostNotInConnector);
            return verdict;
        }
    }
    verdict.judge_org(&rules.org, target.host());
    if verdict.refusal.is_none() {
        verdict.refusal = org_rules.refusal();
        org_rules.add_to(&mut verdict.decisions);
    }
    verdict
}

impl Verdict {
    fn refuse(&mut self, check: &'static str, code: Code) {
        self.refusal = Some(code);
        self.decisions.push(Decision::refuse(check, code));
    }

    fn judge_org(&mut self, policy: &OrgPolicy, host: &str) {
        let OrgPolicy::List { patterns, mode } = policy else {
            self.decisions.push(Decision::pass("org_domains", None));
            return;
        };
        match (patterns.iter().find(|p| p.matches(host)), mode) {
            (Some(pattern), _) => {
                self.matched_org = Some(pattern.clone());
                self.decisions.push(Decision::pass("org_domains", Some(pattern.clone())));
            }
            (None, AllowlistMode::Report) => self.decisions.push(Decision {
                check: "org_domains",
                verdict: CheckVerdict::WouldRefuse,
                matched: None,
                code: Some(Code::HostNotInOrg),
            }),
            (None, AllowlistMode::Enforce) => self.refuse("org_domains", Code::HostNotInOrg),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::org_rules::RuleVerdict;

    fn patterns(texts: &[&str]) -> Vec<HostPattern> {
        texts.iter().map(|t| HostPattern::parse(t).unwrap()).collect()
    }

    fn rules(org: OrgPolicy) -> HostRules {
        let org_rules = RulesVerdict::ALLOWED;
        HostRules { connector: patterns(&["*.salesforce.com"]), ports: vec![8443], org, org_rules }
    }

    fn code(url: &str, org: OrgPolicy) -> &'static str {
        judge(url.as_bytes(), &rules(org), 8192).refusal.map_or("allow", Code::as_str)
    }

    fn list(texts: &[&str], mode: AllowlistMode) -> OrgPolicy {
        OrgPolicy::List { patterns: patterns(texts), mode }
    }

    #[test]
    fn both_lists_must_pass() {
        let url = "https://api.salesforce.com/v1";
        assert_eq!(code(url, OrgPolicy::Unrestricted), "allow");
        assert_eq!(code(url, list(&["api.salesforce.com"], AllowlistMode::Enforce)), "allow");
        assert_eq!(code(url, list(&["api.hubspot.com"], AllowlistMode::Enforce)), "host_not_in_org");
        assert_eq!(code(url, list(&[], AllowlistMode::Enforce)), "host_not_in_org");
        assert_eq!(code(url, list(&[], AllowlistMode::Report)), "allow");
        assert_eq!(
            code("https://evil.example.net/", list(&["evil.example.net"], AllowlistMode::Enforce)),
            "host_not_in_connector"
        );
    }

    #[test]
    fn report_mode_says_what_it_would_have_refused() {
        let verdict = judge(b"https://api.salesforce.com/", &rules(list(&[], AllowlistMode::Report)), 8192);
        let found = verdict.decisions.iter().find(|one| one.check == "org_domains").unwrap();
        assert_eq!(found.verdict, CheckVerdict::WouldRefuse);
    }

    #[test]
    fn the_orgs_rules_are_judged_after_its_list() {
        let judged = |org, org_rules| {
            let rules = HostRules { org_rules, ..rules(org) };
            let verdict = judge(b"https://api.salesforce.com/", &rules, 8192);
            let checks: Vec<_> = verdict.decisions.iter().map(|one| one.check).collect();
            (verdict.refusal.map(Code::as_str), checks.join(" "))
        };
        let allowed = RulesVerdict::ALLOWED;
        let before = "url https connector_domains org_domains";
        assert_eq!(
            judged(OrgPolicy::Unrestricted, allowed),
            (None, format!("{before} org_connectors org_actions"))
        );
        let unused = RulesVerdict { is_connector_allowed: false, ..allowed };
        assert_eq!(
            judged(OrgPolicy::Unrestricted, unused),
            (Some("connector_not_allowed"), format!("{before} org_connectors"))
        );
        let outside = list(&[], AllowlistMode::Enforce);
        assert_eq!(judged(outside, unused), (Some("host_not_in_org"), before.to_owned()));
        let blocked = RulesVerdict { action: Some(RuleVerdict::Block), ..allowed };
        let (code, checks) = judged(OrgPolicy::Unrestricted, blocked);
        assert_eq!(
            (code, checks.ends_with("org_connectors org_actions")),
            (Some("action_not_allowed"), true)
        );
    }

    #[test]
    fn a_refusal_names_host_list_and_nearest_entries_to_whoever_may_see_them() {
        let told = |url: &str, org: OrgPolicy, reads: bool| {
            let rules = rules(org);
            judge(url.as_bytes(), &rules, 8192).refusal_text(&rules, reads)
        };
        let org = || list(&["*.hubapi.com", "login.salesforce.com"], AllowlistMode::Enforce);
        let start = "api.salesforce.com is not in the org's domain_allowlist (settings/integrations)";
        let url = "https://api.salesforce.com/";
        assert_eq!(told(url, org(), false).as_deref(), Some(start));
        let whole = format!("{start}; the nearest entries are login.salesforce.com");
        assert_eq!(told(url, org(), true), Some(whole));
        assert_eq!(
            told("https://api.salesforce.co/", org(), false).as_deref(),
            Some(
                "api.salesforce.co is not in the connector's allowed_domains; its only entry is *.salesforce.com"
            )
        );
        let port = "api.salesforce.com: port 22 is not among the definition's egress.ports";
        assert_eq!(told("https://api.salesforce.com:22/", org(), true).as_deref(), Some(port));
        assert_eq!(told("http://api.salesforce.com/", org(), true), None);
        assert_eq!(told(url, OrgPolicy::Unrestricted, true), None, "it passes");
    }

    #[test]
    fn a_port_needs_the_definitions_permission() {
        assert_eq!(code("https://api.salesforce.com:8443/", OrgPolicy::Unrestricted), "allow");
        assert_eq!(code("https://api.salesforce.com:443/", OrgPolicy::Unrestricted), "allow");
        assert_eq!(code("https://api.salesforce.com:22/", OrgPolicy::Unrestricted), "port_not_allowed");
    }

    #[test]
    fn the_first_reason_in_order_is_the_one_given() {
        assert_eq!(code("http://10.0.0.1/", OrgPolicy::Unrestricted), "scheme_not_https");
        assert_eq!(code("https://10.0.0.1/", OrgPolicy::Unrestricted), "ip_literal");
        assert_eq!(code("https://evil.example.net:22/", OrgPolicy::Unrestricted), "port_not_allowed");
        assert_eq!(code("https://u@evil.example.net/", OrgPolicy::Unrestricted), "userinfo_present");
    }
    #[test]
    fn the_schema_of_a_check_is_what_is_written() {
        let list = list(&["*.salesforce.com"], AllowlistMode::Report);
        for url in ["https://api.salesforce.com/", "https://a.example.com/", "http://a.example.com/"] {
            for decision in judge(url.as_bytes(), &rules(list.clone()), 8192).decisions {
                crate::structure::assert_written(&decision);
            }
        }
    }
}
