//! `portcullis explain`: the gate's own verdict on URLs, before anything is sent.

use std::io::{BufRead as _, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use portcullis_core::connector::Connector;
use portcullis_core::host_pattern;
use portcullis_core::limits::Limits;
use portcullis_core::verdict::{AllowlistMode, HostRules, OrgPolicy, Verdict, judge};
use portcullis_core::violation::Violations;
use portcullis_egress::{DnsResolver, Gate, GateParts, TcpDialer, TlsRoots};
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
    let rules = match rules(&args.definition, args.allowlist.as_deref()) {
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
}

impl Judge {
    fn new(args: &ExplainArgs, rules: HostRules, limits: Limits) -> Result<Self, String> {
        if !args.resolve {
            return Ok(Self { rules, limits, network: None });
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
        Ok(Self { rules, limits, network: Some((runtime, gate)) })
    }

    fn explain(&self, url: &[u8]) -> Value {
        let Verdict { target, matched_connector, matched_org, refusal, .. } =
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
        answer
    }
}

fn rules(definition: &Path, allowlist: Option<&Path>) -> Result<HostRules, Vec<String>> {
    let read = |path: &Path| std::fs::read(path).map_err(|e| vec![format!("{}: {e}", path.display())]);
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
    let org = match allowlist {
        None => OrgPolicy::Unrestricted,
        Some(path) => {
            let text = String::from_utf8_lossy(&read(path)?).into_owned();
            let entries: Vec<String> = serde_json::from_str(&text).unwrap_or_else(|_| {
                text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect()
            });
            let mut problems = Violations::default();
            let patterns = host_pattern::parse_list("", entries.iter().map(String::as_str), &mut problems);
            if !problems.is_empty() {
                return Err(problems.iter().map(|p| format!("{}: {}", path.display(), p.message)).collect());
            }
            OrgPolicy::List { patterns, mode: AllowlistMode::Enforce }
        }
    };
    Ok(HostRules { connector: connector.allowed_domains, ports: connector.ports, org })
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
