//! `portcullis explain`: the gate's own verdict on URLs, before anything is sent.

use std::io::{BufRead as _, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use portcullis_action::{Method, UrlTemplate};
use portcullis_core::connector::{Action, Connector};
use portcullis_core::grant::{ActionScope, EgressGrant};
use portcullis_core::host_pattern;
use portcullis_core::limits::Limits;
use portcullis_core::org_rules::{Asked, OrgRules, RulesVerdict};
use portcullis_core::verdict::{AllowlistMode, HostRules, OrgPolicy, Verdict, judge};
use portcullis_core::violation::{Violations, nearest};
use portcullis_egress::{DnsResolver, Gate, GateParts, TcpDialer, TlsRoots};
use portcullis_engine::org_policy::PolicyWish;
use serde_json::{Map, Value, json};

use super::{BAD_CONFIG, DONE, FAILED};
use crate::config::dns_servers;
use crate::output;

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Connector definition
    #[arg(long, value_name = "FILE")]
    definition: PathBuf,
    /// The org's list: a JSON array of entries, or one entry per line
    #[arg(long, value_name = "FILE")]
    allowlist: Option<PathBuf>,
    /// The org's settings as GET /org/{org}/settings/integrations shows them: list of hosts, connectors and rules
    #[arg(long, value_name = "FILE", conflicts_with = "allowlist")]
    settings: Option<PathBuf>,
    /// The action that makes the request: its method, host and path are judged, too, and the rules of --settings for it;
    /// without it, those of what its credential's test may do
    #[arg(long, value_name = "ID")]
    action: Option<String>,
    /// The method of the request, for --action [default: the action's own]
    #[arg(long, value_name = "METHOD", requires = "action")]
    method: Option<String>,
    /// A config value of the connection, for --action; may be repeated
    #[arg(long, value_name = "NAME=VALUE", requires = "action")]
    config: Vec<String>,
    /// One URL
    #[arg(long, value_name = "URL", required_unless_present = "urls", conflicts_with = "urls")]
    url: Option<String>,
    /// URLs, one per line as raw bytes; a line may also be a JSON string. `-` is standard input
    #[arg(long, value_name = "FILE")]
    urls: Option<PathBuf>,
    /// Also look up allowed hosts and check every address; connects nowhere
    #[arg(long)]
    resolve: bool,
    /// DNS servers for --resolve, comma-separated [default: the system's]
    #[arg(long, value_name = "IP[:PORT],…", requires = "resolve")]
    dns_servers: Option<String>,
}

/// Judges every URL; fails if the one URL is refused, and for a file of them if it cannot be read.
pub(super) fn run(args: &ExplainArgs) -> u8 {
    let (rules, asked) =
        match rules(args).and_then(|(rules, connector)| Ok((rules, asked(args, &connector)?))) {
            Ok(both) => both,
            Err(errors) => {
                errors.iter().for_each(|e| output::error(e));
                return BAD_CONFIG;
            }
        };
    let judge = match Judge::new(args, rules, asked, Limits::default()) {
        Ok(judge) => judge,
        Err(e) => {
            output::error(&e);
            return BAD_CONFIG;
        }
    };
    if let Some(url) = &args.url {
        let answer = judge.explain(url.as_bytes());
        output::line(&answer.to_string());
        return if answer.get("verdict").is_some_and(|verdict| verdict == "allow") { DONE } else { FAILED };
    }
    let Some(path) = &args.urls else { return FAILED };
    match judge_file(path, &judge) {
        Ok(()) => DONE,
        Err(e) => {
            output::error(&format!("{}: {e}", path.display()));
            FAILED
        }
    }
}

fn judge_file(path: &Path, judge: &Judge) -> std::io::Result<()> {
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(path)?)
    };
    let mut reader = BufReader::new(source);
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return out.flush().or_else(unless_closed);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let url = as_url(&line);
        if let Err(error) = writeln!(out, "{}", judge.explain(&url)) {
            return unless_closed(error);
        }
    }
}

/// A reader that closed the pipe has what it wants.
fn unless_closed(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

/// A line is raw bytes, unless it is a JSON string.
fn as_url(line: &[u8]) -> Vec<u8> {
    let quoted = line.first() == Some(&b'"');
    match serde_json::from_slice::<String>(line) {
        Ok(text) if quoted => text.into_bytes(),
        _ => line.to_vec(),
    }
}

/// The rules for judging URLs, and with `--resolve` the lookups as well.
struct Judge {
    rules: HostRules,
    /// What the request is made for: the action's grant and the request's method.
    asked: Option<(Vec<ActionScope>, Method)>,
    limits: Limits,
    network: Option<(tokio::runtime::Runtime, std::sync::Arc<Gate>)>,
    /// Whether each check is shown.
    with_decisions: bool,
}

impl Judge {
    fn new(
        args: &ExplainArgs,
        rules: HostRules,
        asked: Option<(Vec<ActionScope>, Method)>,
        limits: Limits,
    ) -> Result<Self, String> {
        let with_decisions = args.settings.is_some() || asked.is_some();
        if !args.resolve {
            return Ok(Self { rules, asked, limits, network: None, with_decisions });
        }
        let servers = dns_servers(args.dns_servers.as_deref().unwrap_or_default())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| format!("the async runtime cannot start: {e}"))?;
        let resolver = {
            let _inside = runtime.enter();
            DnsResolver::new(&servers, &limits)?
        };
        let gate = Gate::new(GateParts {
            resolver: std::sync::Arc::new(resolver),
            dialer: std::sync::Arc::new(TcpDialer),
            tls_roots: TlsRoots::public(None).map_err(|e| e.to_string())?,
            limits: std::sync::Arc::new(limits.clone()),
        });
        Ok(Self { rules, asked, limits, network: Some((runtime, gate)), with_decisions })
    }

    fn judged(&self, url: &[u8]) -> Verdict {
        match &self.asked {
            None => judge(url, &self.rules, self.limits.url_bytes),
            Some((scopes, method)) => {
                let grant = EgressGrant::new(self.rules.clone(), scopes.clone(), self.limits.url_bytes);
                grant.permit(url, *method).0
            }
        }
    }

    fn explain(&self, url: &[u8]) -> Value {
        let verdict = self.judged(url);
        // Why with the org's entries: whoever runs this has both lists at hand.
        let detail = verdict.refusal_text(&self.rules, true);
        let Verdict { target, matched_connector, matched_org, refusal, decisions } = verdict;
        let mut code = refusal;
        let mut addresses = Vec::new();
        if let (None, Some(target), Some((runtime, gate))) = (refusal, &target, &self.network) {
            code = runtime.block_on(gate.judge_host(target.host(), &mut addresses)).err();
        }
        let mut answer = json!({
            "url": String::from_utf8_lossy(url),
            "verdict": if code.is_none() { "allow" } else { "refuse" },
            "code": code,
            "host": target.as_ref().map(|t| t.host()),
            "matched_connector": matched_connector,
            "matched_org": matched_org,
        });
        if let (Some(map), Some(code)) = (answer.as_object_mut(), code) {
            map.insert("detail".to_owned(), json!(detail.as_deref().unwrap_or_else(|| code.title())));
        }
        if let (Some(map), true) = (answer.as_object_mut(), self.network.is_some()) {
            map.insert("addresses".to_owned(), json!(addresses));
        }
        if let (Some(map), true) = (answer.as_object_mut(), self.with_decisions) {
            map.insert("decisions".to_owned(), json!(decisions));
        }
        answer
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Vec<String>> {
    std::fs::read(path).map_err(|e| vec![format!("{}: {e}", path.display())])
}

fn rules(args: &ExplainArgs) -> Result<(HostRules, Connector), Vec<String>> {
    let definition = args.definition.as_path();
    let checked = Connector::parse_bytes(&read(definition)?, &Limits::default());
    let connector = checked.connector.ok_or_else(|| {
        checked
            .errors
            .iter()
            .map(|p| format!("{}: {}: {}", definition.display(), p.pointer, p.message))
            .collect::<Vec<_>>()
    })?;
    let mut org_rules = RulesVerdict::ALLOWED;
    let org = match (&args.allowlist, &args.settings) {
        (Some(path), _) => {
            let text = String::from_utf8_lossy(&read(path)?).into_owned();
            let entries: Vec<String> = serde_json::from_str(&text).unwrap_or_else(|_| {
                text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect()
            });
            list(path, &entries, AllowlistMode::Enforce)?
        }
        (None, Some(path)) => {
            let settings = settings(path)?;
            org_rules = judged(&settings, &connector, args.action.as_deref())?;
            match &settings.domain_allowlist {
                Some(entries) => list(path, entries, settings.mode)?,
                None => OrgPolicy::Unrestricted,
            }
        }
        (None, None) => OrgPolicy::Unrestricted,
    };
    let (allowed, ports) = (connector.allowed_domains.clone(), connector.ports.clone());
    Ok((HostRules { connector: allowed, ports, org, org_rules }, connector))
}

/// Where the action may go and with which method the request is made; `None` without --action.
fn asked(
    args: &ExplainArgs,
    connector: &Connector,
) -> Result<Option<(Vec<ActionScope>, Method)>, Vec<String>> {
    let Some(id) = &args.action else { return Ok(None) };
    let action = find_action(connector, id)?;
    let mut config = Map::new();
    for field in connector.fields.iter().filter(|field| !field.secret) {
        if let Some(default) = &field.default {
            config.insert(field.name.clone(), Value::String(default.clone()));
        }
    }
    for pair in &args.config {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| vec![format!("--config {pair:?} must be NAME=VALUE")])?;
        config.insert(name.to_owned(), Value::String(value.to_owned()));
    }
    let urls: Vec<(Method, &UrlTemplate)> = match connector.module_of(action) {
        Some(runtime) => runtime.requests.iter().map(|(method, url, _)| (*method, url)).collect(),
        None => {
            std::iter::once(&action.url).chain(&action.page_urls).map(|url| (action.method, url)).collect()
        }
    };
    let scopes: Result<Vec<ActionScope>, _> =
        urls.into_iter().map(|(method, url)| ActionScope::new(method, url, &config)).collect();
    let scopes = scopes.map_err(|e| vec![format!("{e}; give it with --config NAME=VALUE")])?;
    let method = match &args.method {
        None => action.method,
        Some(written) => {
            let upper = written.to_ascii_uppercase();
            Method::parse(&upper).ok_or_else(|| vec![format!("--method {written:?} is no method")])?
        }
    };
    Ok(Some((scopes, method)))
}

fn find_action<'c>(connector: &'c Connector, id: &str) -> Result<&'c Action, Vec<String>> {
    connector.action(id).ok_or_else(|| {
        let near = nearest(id, connector.actions.iter().map(|action| action.id.as_str()));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
        vec![format!("the connector has no action {id:?}{hint}")]
    })
}

/// An org's list of hosts.
fn list(path: &Path, entries: &[String], mode: AllowlistMode) -> Result<OrgPolicy, Vec<String>> {
    let mut problems = Violations::default();
    let patterns = host_pattern::parse_list("", entries.iter().map(String::as_str), &mut problems);
    if !problems.is_empty() {
        return Err(problems.iter().map(|p| format!("{}: {}", path.display(), p.message)).collect());
    }
    Ok(OrgPolicy::List { patterns, mode })
}

/// An org's settings, as they are set or as they are shown.
fn settings(path: &Path) -> Result<PolicyWish, Vec<String>> {
    let wrong = |e: serde_json::Error| vec![format!("{}: {e}", path.display())];
    let mut document: Value = serde_json::from_slice(&read(path)?).map_err(wrong)?;
    if let Some(members) = document.as_object_mut() {
        members.remove("updated_at");
        members.remove("warnings");
    }
    serde_json::from_value(document).map_err(wrong)
}

/// What the org's rules say of an action, or of the connection itself.
fn judged(
    settings: &PolicyWish,
    connector: &Connector,
    action: Option<&str>,
) -> Result<RulesVerdict, Vec<String>> {
    let asked = match action {
        None => Asked::Connection,
        Some(id) => {
            let action = find_action(connector, id)?;
            Asked::Action { action: action.id.as_str(), effect: action.effect, is_module: action.is_module }
        }
    };
    let connectors = settings.connectors.clone().unwrap_or_default();
    let rules = OrgRules { connectors, actions: settings.action_rules.clone() };
    Ok(rules.judge(connector.id.as_str(), asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_raw_bytes_or_a_json_string() {
        assert_eq!(as_url(b"https://a"), b"https://a");
        assert_eq!(as_url(br#""https://a\u0009b""#), b"https://a\tb");
        assert_eq!(as_url(br#""unclosed"#), br#""unclosed"#);
        assert_eq!(as_url(b"\xff\xfe"), b"\xff\xfe");
    }
}
