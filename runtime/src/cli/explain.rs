//! `portcullis explain`: the gate's own verdict on URLs, before anything is sent.

use std::io::{BufRead as _, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use portcullis_core::connector::Connector;
use portcullis_core::host_pattern;
use portcullis_core::limits::Limits;
use portcullis_core::org_rules::{Asked, OrgRules, RulesVerdict};
use portcullis_core::verdict::{AllowlistMode, HostRules, OrgPolicy, Verdict, judge};
use portcullis_core::violation::Violations;
use portcullis_egress::{DnsResolver, Gate, GateParts, TcpDialer, TlsRoots};
use portcullis_engine::org_policy::PolicyWish;
use serde_json::{Value, json};

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
    /// The action that makes the request, for the rules of --settings; without it, what its credential's test may do
    #[arg(long, value_name = "ID", requires = "settings")]
    action: Option<String>,
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

/// Judges every URL; fails only if a file cannot be read.
pub(super) fn run(args: &ExplainArgs) -> u8 {
    let rules = match rules(args) {
        Ok(rules) => rules,
        Err(errors) => {
            errors.iter().for_each(|e| output::error(e));
            return BAD_CONFIG;
        }
    };
    let judge = match Judge::new(args, rules, Limits::default()) {
        Ok(judge) => judge,
        Err(e) => {
            output::error(&e);
            return BAD_CONFIG;
        }
    };
    if let Some(url) = &args.url {
        output::line(&judge.explain(url.as_bytes()).to_string());
        return DONE;
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
    limits: Limits,
    network: Option<(tokio::runtime::Runtime, std::sync::Arc<Gate>)>,
    /// Whether each check is shown.
    with_decisions: bool,
}

impl Judge {
    fn new(args: &ExplainArgs, rules: HostRules, limits: Limits) -> Result<Self, String> {
        let with_decisions = args.settings.is_some();
        if !args.resolve {
            return Ok(Self { rules, limits, network: None, with_decisions });
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
        Ok(Self { rules, limits, network: Some((runtime, gate)), with_decisions })
    }

    fn explain(&self, url: &[u8]) -> Value {
        let Verdict { target, matched_connector, matched_org, refusal, decisions } =
            judge(url, &self.rules, self.limits.url_bytes);
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

fn rules(args: &ExplainArgs) -> Result<HostRules, Vec<String>> {
    let definition = args.definition.as_path();
    let text = read(definition)?;
    let document: Value = serde_json::from_slice(&text)
        .map_err(|e| vec![format!("{}: not JSON: {e}", definition.display())])?;
    let checked = Connector::parse(&document, &Limits::default());
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
    Ok(HostRules { connector: connector.allowed_domains, ports: connector.ports, org, org_rules })
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
            let missing = || vec![format!("the connector has no action {id:?}")];
            let action = connector.action(id).ok_or_else(missing)?;
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
