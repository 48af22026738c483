//! `portcullis explain`: the gate's own verdict on URLs, before anything is sent.

use std::io::{BufRead as _, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use portcullis_core::connector::Connector;
use portcullis_core::host_pattern;
use portcullis_core::limits::Limits;
use portcullis_core::verdict::{AllowlistMode, HostRules, OrgPolicy, Verdict, judge};
use serde_json::{Value, json};

use super::{BAD_CONFIG, DONE, FAILED, output};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Connector definition
    #[arg(long, value_name = "FILE")]
    definition: PathBuf,
    /// The org's list: a JSON array of entries, or one entry a line
    #[arg(long, value_name = "FILE")]
    allowlist: Option<PathBuf>,
    /// One URL
    #[arg(long, value_name = "URL", required_unless_present = "urls", conflicts_with = "urls")]
    url: Option<String>,
    /// URLs, one a line as raw bytes; a line may also be a JSON string. `-` is standard input
    #[arg(long, value_name = "FILE")]
    urls: Option<PathBuf>,
}

/// Judges every URL; fails only when a file cannot be read.
pub(super) fn run(args: &ExplainArgs) -> u8 {
    let rules = match rules(&args.definition, args.allowlist.as_deref()) {
        Ok(rules) => rules,
        Err(errors) => {
            errors.iter().for_each(|e| output::error(e));
            return BAD_CONFIG;
        }
    };
    let limits = Limits::default();
    if let Some(url) = &args.url {
        output::line(&explain(url.as_bytes(), &rules, &limits).to_string());
        return DONE;
    }
    let Some(path) = &args.urls else {
        return FAILED;
    };
    match judge_file(path, &rules, &limits) {
        Ok(()) => DONE,
        Err(e) => {
            output::error(&format!("{}: {e}", path.display()));
            FAILED
        }
    }
}

fn judge_file(path: &Path, rules: &HostRules, limits: &Limits) -> std::io::Result<()> {
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
            return out.flush();
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let url = as_url(&line);
        writeln!(out, "{}", explain(&url, rules, limits))?;
    }
}

/// A line is raw bytes, unless it is a JSON string.
fn as_url(line: &[u8]) -> Vec<u8> {
    let quoted = line.first() == Some(&b'"');
    match serde_json::from_slice::<String>(line) {
        Ok(text) if quoted => text.into_bytes(),
        _ => line.to_vec(),
    }
}

fn explain(url: &[u8], rules: &HostRules, limits: &Limits) -> Value {
    let Verdict { target, matched_connector, matched_org, refusal, .. } = judge(url, rules, limits.url_bytes);
    json!({
        "url": String::from_utf8_lossy(url),
        "verdict": if refusal.is_none() { "allow" } else { "refuse" },
        "code": refusal,
        "host": target.as_ref().map(|t| t.host()),
        "matched_connector": matched_connector,
        "matched_org": matched_org,
    })
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
            let mut problems = Vec::new();
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
