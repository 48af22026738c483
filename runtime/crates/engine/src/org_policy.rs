//! Org policy: where an org's calls may go, which connectors it uses, and what their actions may do.

use std::collections::BTreeSet;

use portcullis_core::fault::Code;
use portcullis_core::host_pattern;
use portcullis_core::id::{ConnectorId, OrgId};
use portcullis_core::limits::Limits;
use portcullis_core::org_rules::{is_action_pattern, is_connector_pattern};
use portcullis_core::structure::Structure;
use portcullis_core::violation::{Violation, Violations};
pub use portcullis_store::{
    ActionRule, AllowlistMode, ConnectorsMode, ConnectorsRule, IntegrationSettings, RuleVerdict,
};
use portcullis_store::{ConnectorRecord, StoreError, Writes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::caller::{Caller, ORG};
use crate::clock;
use crate::connectors::merge;
use crate::engine::Engine;
use crate::error::Error;
use crate::resources::Resources;
use crate::webhooks::{Event, EventData, EventType, tell};

/// Where the list of hosts is in the settings.
const DOMAINS_AT: &str = "/domain_allowlist";
/// How often a patch is tried while others change the same settings.
const PATCH_ATTEMPTS: usize = 5;
/// Ids that are looked up to tell of those that are no connector.
const LOOKED_UP_MAX: usize = 200;

/// An org's policy to set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SetIntegrations", extend("required" = ["domain_allowlist"]))]
pub struct PolicyWish {
    /// Null for no restriction, `[]` to forbid everything, or a list of hosts and `*.host` patterns.
    pub domain_allowlist: Option<Vec<String>>,
    /// What happens to a call to a host outside the list. The other rules have a verdict of their own.
    #[serde(default = "enforce")]
    pub mode: AllowlistMode,
    /// The connectors that the org uses; all of them if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ConnectorsRule")]
    pub connectors: Option<ConnectorsRule>,
    /// What actions may do; the first rule that matches counts.
    #[serde(default)]
    pub action_rules: Vec<ActionRule>,
}

const fn enforce() -> AllowlistMode {
    AllowlistMode::Enforce
}

impl From<IntegrationSettings> for PolicyWish {
    fn from(settings: IntegrationSettings) -> Self {
        let IntegrationSettings { domain_allowlist, mode, connectors, action_rules, updated_at: _ } =
            settings;
        Self { domain_allowlist, mode, connectors, action_rules }
    }
}

impl Default for PolicyWish {
    fn default() -> Self {
        Self { domain_allowlist: None, mode: enforce(), connectors: None, action_rules: Vec::new() }
    }
}

/// Reads the org's policy; `None` if it never set one.
///
/// # Errors
/// Those of [`Caller::authorise`], `store_unavailable`.
pub async fn show(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
) -> Result<Option<IntegrationSettings>, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    let found = engine.resources.records.get::<IntegrationSettings>(&[org.as_str()]).await?;
    Ok(found.map(|(settings, _)| settings))
}

/// Sets the org's policy as a whole: what is left out is not restricted. Calls that it does not allow end.
///
/// # Errors
/// Those of [`Caller::authorise`], `validation_failed` with every invalid entry.
pub async fn replace(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    wish: PolicyWish,
) -> Result<(IntegrationSettings, Vec<Violation>), Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    check(&wish, &engine.resources.limits)?;
    let settings = settings(wish);
    let writes = Writes::new().put(&[org.as_str()], &settings);
    engine.resources.commit(tell(&engine.resources, writes, &changed(org)).await?).await?;
    let warnings = warnings(&engine.resources, &settings).await?;
    Ok((settings, warnings))
}

/// Changes what a JSON merge patch (RFC 7396) names of the org's policy. Calls that it does not allow any more end.
///
/// # Errors
/// As for [`replace`]; `in_use` if others change it over and over at the same time.
pub async fn patch(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    patch: &Value,
) -> Result<(IntegrationSettings, Vec<Violation>), Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    let resources = &engine.resources;
    let internal = || Error::plain(Code::Internal);
    let structure = Structure::of::<PolicyWish>().ok_or_else(internal)?;
    let parts = [org.as_str()];
    for _ in 0..PATCH_ATTEMPTS {
        let found = resources.records.get::<IntegrationSettings>(&parts).await?;
        let (before, commit) =
            found.map_or((None, None), |(settings, commit)| (Some(settings), Some(commit)));
        let before = before.map_or_else(PolicyWish::default, PolicyWish::from);
        let mut document = serde_json::to_value(&before).map_err(|_| internal())?;
        merge(&mut document, patch);
        restore_defaults(&mut document);
        let wish: PolicyWish = structure
            .read(document)
            .map_err(|violations| Error::violations(Code::ValidationFailed, violations))?;
        check(&wish, &resources.limits)?;
        let settings = settings(wish);
        let writes = match commit {
            Some(commit) => Writes::new().replace(&parts, &settings, commit),
            None => Writes::new().create(&parts, &settings),
        };
        match resources.commit(tell(resources, writes, &changed(org)).await?).await {
            Ok(_) => {
                let warnings = warnings(resources, &settings).await?;
                return Ok((settings, warnings));
            }
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::new(Code::InUse, "the settings are being changed by others; try again"))
}

/// What webhooks are told.
fn changed(org: &OrgId) -> Event {
    let data = EventData { org: Some(org.clone()), settings: Some("integrations"), ..EventData::default() };
    Event::new(EventType::PolicyChanged, Some(org.clone()), data)
}

/// A patch takes a member away with null; what is left is what the member is by default.
fn restore_defaults(document: &mut Value) {
    if let Some(members) = document.as_object_mut() {
        members.entry("domain_allowlist").or_insert(Value::Null);
    }
}

fn settings(wish: PolicyWish) -> IntegrationSettings {
    let PolicyWish { domain_allowlist, mode, connectors, action_rules } = wish;
    IntegrationSettings { domain_allowlist, mode, connectors, action_rules, updated_at: clock::now() }
}

/// Checks a policy.
///
/// # Errors
/// `validation_failed` with every invalid entry, or with the lists that are too long.
fn check(wish: &PolicyWish, limits: &Limits) -> Result<(), Error> {
    let mut violations = Violations::default();
    let listed = wish.connectors.iter().flat_map(|rule| &rule.listed);
    let mut too_many = |at: String, count: usize, limit: u64, name: &str| {
        if count as u64 > limit {
            let message = format!("has {count} entries, the limit is {limit} (limits.{name})");
            violations.push(Violation::new(at, "too_many", message));
        }
    };
    let domains = wish.domain_allowlist.as_ref().map_or(0, Vec::len);
    too_many(DOMAINS_AT.to_owned(), domains, limits.org_allowlist, "org_allowlist");
    too_many(
        "/connectors/listed".to_owned(),
        listed.clone().count(),
        limits.org_connectors,
        "org_connectors",
    );
    too_many(
        "/action_rules".to_owned(),
        wish.action_rules.len(),
        limits.org_action_rules,
        "org_action_rules",
    );
    for (number, rule) in wish.action_rules.iter().enumerate() {
        for (member, entries) in [("connectors", &rule.connectors), ("actions", &rule.actions)] {
            let at = format!("/action_rules/{number}/{member}");
            let count = entries.as_ref().map_or(0, Vec::len);
            too_many(at, count, limits.org_rule_entries, "org_rule_entries");
        }
    }
    // Why alone: the entries of a list that is too long are not looked at.
    if !violations.is_empty() {
        return Err(Error::violations(Code::ValidationFailed, violations.into_vec()));
    }
    if let Some(entries) = &wish.domain_allowlist {
        // Why ignored: the texts are stored as written; parsing only finds the violations.
        let _ = host_pattern::parse_list(DOMAINS_AT, entries.iter().map(String::as_str), &mut violations);
    }
    for (number, id) in listed.enumerate() {
        if ConnectorId::parse(id).is_err() {
            let message = "is no id of a connector";
            violations.push(Violation::new(format!("/connectors/listed/{number}"), "wrong_form", message));
        }
    }
    for (number, rule) in wish.action_rules.iter().enumerate() {
        check_rule(rule, &format!("/action_rules/{number}"), &mut violations);
    }
    match violations.is_empty() {
        true => Ok(()),
        false => Err(Error::violations(Code::ValidationFailed, violations.into_vec())),
    }
}

fn check_rule(rule: &ActionRule, at: &str, violations: &mut Violations) {
    let names_action = |text: &str| match text.split_once('/') {
        Some((connector, action)) => is_connector_pattern(connector) && is_action_pattern(action),
        None => is_action_pattern(text),
    };
    let mut check =
        |member: &str, entries: Option<&Vec<String>>, is_sound: &dyn Fn(&str) -> bool, form: &str| {
            for (number, entry) in entries.into_iter().flatten().enumerate() {
                if !is_sound(entry) {
                    let message = format!("must be {form}, in which * stands for any characters");
                    violations.push(Violation::new(format!("{at}/{member}/{number}"), "wrong_form", message));
                }
            }
            // Why an error: it matches nothing, and who wrote it meant everything or has made a mistake.
            if entries.is_some_and(Vec::is_empty) {
                let message = "an empty list matches nothing; leave it out to match everything";
                violations.push(Violation::new(format!("{at}/{member}"), "empty", message));
            }
        };
    check("connectors", rule.connectors.as_ref(), &is_connector_pattern, "an id of a connector");
    check("actions", rule.actions.as_ref(), &names_action, "an id of an action, or connector/action");
    if rule.effects.as_ref().is_some_and(Vec::is_empty) {
        let message = "an empty list matches nothing; leave it out to match everything";
        violations.push(Violation::new(format!("{at}/effects"), "empty", message));
    }
}

/// What an admin should look at: wide entries, and ids that are no connector, of which a rule stops nothing.
async fn warnings(resources: &Resources, settings: &IntegrationSettings) -> Result<Vec<Violation>, Error> {
    let domains = settings.domain_allowlist.iter().flatten();
    let mut warnings = host_pattern::shared_hosting_warnings(DOMAINS_AT, domains);
    let listed = settings.connectors.iter().flat_map(|rule| &rule.listed).enumerate();
    let listed = listed.map(|(number, id)| (format!("/connectors/listed/{number}"), id));
    let rules = settings.action_rules.iter().enumerate().flat_map(|(rule, of)| {
        let named = of.connectors.iter().flatten().enumerate();
        named.map(move |(number, id)| (format!("/action_rules/{rule}/connectors/{number}"), id))
    });
    let mut seen = BTreeSet::new();
    let named = listed.chain(rules).filter(|(_, id)| !id.contains('*') && seen.insert(id.as_str()));
    let named: Vec<(String, &String)> = named.take(LOOKED_UP_MAX).collect();
    for (at, id) in named {
        if resources.records.get_shared::<ConnectorRecord>(&[id.as_str()]).await?.is_none() {
            let message = format!("there is no connector {id:?}");
            warnings.push(Violation::new(at, "unknown_connector", message));
        }
    }
    Ok(warnings)
}
