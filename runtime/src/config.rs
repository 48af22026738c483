//! Configuration: file, environment and flags, in rising order of precedence. The only code that reads the
//! environment. Every error is reported at once; an unknown key is an error.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use portcullis_core::limits::Limits;
use portcullis_store::{LedgerSync, MasterKey};

/// Flags that every command with a data directory takes; each is also an environment variable and
/// a key of the file.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file (TOML)
    #[arg(long, env = "PORTCULLIS_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address of the API
    #[arg(long, env = "PORTCULLIS_LISTEN", value_name = "ADDR:PORT")]
    pub(crate) listen: Option<String>,
    /// Directory of records, ledger and master key
    #[arg(long, env = "PORTCULLIS_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    /// `sled`
    #[arg(long, env = "PORTCULLIS_STORE", value_name = "STORE")]
    pub(crate) store: Option<String>,
    /// File of the master key [default: master.key in the data directory]
    #[arg(long, env = "PORTCULLIS_MASTER_KEY_FILE", value_name = "FILE")]
    pub(crate) master_key_file: Option<String>,
    /// File with the first platform token; without it `init` creates one
    #[arg(long, env = "PORTCULLIS_BOOTSTRAP_TOKEN_FILE", value_name = "FILE")]
    pub(crate) bootstrap_token_file: Option<String>,
    /// Public URL of the API [default: http:// and the listen address]
    #[arg(long, env = "PORTCULLIS_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// PEM file of roots to trust besides the public ones
    #[arg(long = "egress-ca-file", env = "PORTCULLIS_EGRESS_CA_FILE", value_name = "FILE")]
    pub(crate) egress_ca_file: Option<String>,
    /// DNS servers, comma-separated [default: the system's]
    #[arg(long = "egress-dns-servers", env = "PORTCULLIS_EGRESS_DNS_SERVERS", value_name = "IP[:PORT],…")]
    pub(crate) egress_dns_servers: Option<String>,
    /// `group` (on disk within 100 ms) or `strict` (on disk before a call continues)
    #[arg(long = "ledger-sync", env = "PORTCULLIS_LEDGER_SYNC", value_name = "MODE")]
    pub(crate) ledger_sync: Option<String>,
    /// A limit, such as `--limit response_bytes=1048576`; may be repeated
    #[arg(long = "limit", value_name = "NAME=NUMBER")]
    pub(crate) limit: Vec<String>,
    /// What to log: error, warn, info, debug, or a filter
    #[arg(long, env = "PORTCULLIS_LOG", value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,
}

/// Checked configuration.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    /// Directory of all data.
    pub(crate) data_dir: PathBuf,
    /// File of the master key, if it is not in the environment or the system's credentials.
    pub(crate) master_key_file: PathBuf,
    /// Whether the file was named, so that no other source may be used instead.
    pub(crate) master_key_file_named: bool,
    /// File with the first platform token.
    pub(crate) bootstrap_token_file: Option<PathBuf>,
    /// Public URL of the product; third parties send people back to it after consent.
    pub(crate) public_url: String,
    /// PEM of extra roots.
    pub(crate) egress_ca_pem: Option<Vec<u8>>,
    /// DNS servers; if empty, the system's.
    pub(crate) egress_dns_servers: Vec<SocketAddr>,
    /// Ledger durability.
    pub(crate) ledger_sync: LedgerSync,
    pub(crate) limits: Limits,
}

impl Config {
    /// Directory of the embedded store.
    #[must_use]
    pub(crate) fn store_dir(&self) -> PathBuf {
        self.data_dir.join("store")
    }

    /// Reads file, environment and flags.
    ///
    /// # Errors
    /// Every violation, one sentence each, naming the key.
    pub(crate) fn load(args: &ConfigArgs) -> Result<Self, Vec<String>> {
        let mut errors = Vec::new();
        let file = read_file(args.config.as_deref(), &mut errors);
        let pick = |flag: &Option<String>, key: &str| flag.clone().or_else(|| file.text(key));
        let listen = pick(&args.listen, "listen").unwrap_or_else(|| "127.0.0.1:8080".to_owned());
        let listen = listen.parse().unwrap_or_else(|_| {
            errors.push(format!("listen is {listen:?}; write an address and port such as 127.0.0.1:8080"));
            SocketAddr::from(([127, 0, 0, 1], 8080))
        });
        let data_dir =
            PathBuf::from(pick(&args.data_dir, "data_dir").unwrap_or_else(|| "./portcullis-data".to_owned()));
        check_store(pick(&args.store, "store").as_deref().unwrap_or("sled"), &mut errors);
        let ledger_sync = match pick(&args.ledger_sync, "ledger.sync").as_deref().unwrap_or("group") {
            "group" => LedgerSync::Group,
            "strict" => LedgerSync::Strict,
            other => {
                errors.push(format!("ledger.sync is {other:?}; write group or strict"));
                LedgerSync::Group
            }
        };
        let key_file = pick(&args.master_key_file, "master_key_file").map(PathBuf::from);
        let egress_ca_pem =
            pick(&args.egress_ca_file, "egress.ca_file").and_then(|path| match std::fs::read(&path) {
                Ok(pem) => Some(pem),
                Err(e) => {
                    errors.push(format!("egress.ca_file {path} cannot be read: {e}"));
                    None
                }
            });
        let servers = match &args.egress_dns_servers {
            Some(text) => text.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect(),
            None => file.list("egress.dns_servers"),
        };
        let egress_dns_servers = servers.iter().filter_map(|text| dns_server(text, &mut errors)).collect();
        let limits = limits(&file, &args.limit, &mut errors);
        let public_url =
            pick(&args.public_url, "public_url").filter(|url| check_public_url(url, &mut errors));
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            listen,
            master_key_file_named: key_file.is_some(),
            master_key_file: key_file.unwrap_or_else(|| data_dir.join("master.key")),
            data_dir,
            bootstrap_token_file: pick(&args.bootstrap_token_file, "bootstrap_token_file").map(PathBuf::from),
            public_url: public_url.unwrap_or_else(|| format!("http://{listen}")),
            egress_ca_pem,
            egress_dns_servers,
            ledger_sync,
            limits,
        })
    }

    /// The master key.
    ///
    /// # Errors
    /// A sentence naming where it was expected.
    pub(crate) fn master_key(&self) -> Result<MasterKey, String> {
        let path = self.master_key_file.display();
        self.find_master_key()?.ok_or_else(|| format!("there is no master key file {path}"))
    }

    /// The master key: from the named file, otherwise systemd's credentials, the environment, or
    /// the file in the data directory. `None` if there is none anywhere.
    ///
    /// # Errors
    /// A sentence if one exists and cannot be read: it is never silently ignored.
    #[allow(clippy::disallowed_methods, reason = "configuration is where the environment is read")]
    pub(crate) fn find_master_key(&self) -> Result<Option<MasterKey>, String> {
        let parse = |text: &str, from: &str| {
            let key = MasterKey::from_text(text.trim());
            key.map(Some).map_err(|e| format!("the master key in {from} cannot be read: {e}"))
        };
        if !self.master_key_file_named {
            if let Some(dir) = std::env::var_os("CREDENTIALS_DIRECTORY") {
                let path = Path::new(&dir).join("portcullis-master-key");
                if let Ok(text) = std::fs::read_to_string(&path) {
                    return parse(&text, "the system's credentials");
                }
            }
            if let Ok(text) = std::env::var("PORTCULLIS_MASTER_KEY") {
                return parse(&text, "PORTCULLIS_MASTER_KEY");
            }
        }
        let path = &self.master_key_file;
        match std::fs::read_to_string(path) {
            Ok(text) => parse(&text, &path.display().to_string()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("the master key file {} cannot be read: {e}", path.display())),
        }
    }
}

/// Names of set variables that other programs read as proxies. This program reads none.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "configuration is where the environment is read")]
pub(crate) fn proxy_variables() -> Vec<String> {
    const NAMES: &[&str] = &["http_proxy", "https_proxy", "all_proxy"];
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| NAMES.contains(&name.to_ascii_lowercase().as_str()))
        .collect()
}

fn check_store(store: &str, errors: &mut Vec<String>) {
    if store.starts_with("postgres://") || store.starts_with("postgresql://") {
        errors.push("store: PostgreSQL is not implemented in this version; use sled".to_owned());
    } else if store != "sled" {
        errors.push(format!("store is {store:?}; write sled"));
    }
}

/// Reads a comma-separated list of DNS servers.
///
/// # Errors
/// A sentence naming the invalid entry.
pub(crate) fn dns_servers(text: &str) -> Result<Vec<SocketAddr>, String> {
    let mut errors = Vec::new();
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let servers = entries.filter_map(|entry| dns_server(entry, &mut errors)).collect();
    if errors.is_empty() { Ok(servers) } else { Err(errors.join("; ")) }
}

fn dns_server(text: &str, errors: &mut Vec<String>) -> Option<SocketAddr> {
    let address = text.parse::<SocketAddr>().ok();
    let address = address.or_else(|| text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53)));
    if address.is_none() {
        errors.push(format!(
            "egress.dns_servers has {text:?}; write an IP address, with :port if it is not 53"
        ));
    }
    address
}

/// An origin: people are sent back to it by third parties, who compare it byte by byte.
fn check_public_url(text: &str, errors: &mut Vec<String>) -> bool {
    let origin = url::Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some()
            && url.username().is_empty()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    if origin.is_none() {
        errors.push(format!("public_url is {text:?}; it must be such as https://portcullis.example.com"));
    }
    origin.is_some()
}

#[allow(clippy::disallowed_methods, reason = "configuration is where the environment is read")]
fn limits(file: &File, flags: &[String], errors: &mut Vec<String>) -> Limits {
    let mut limits = Limits::default();
    let from_file = file.limits.iter().map(|(name, value)| (name.clone(), value.clone()));
    let from_env = std::env::vars().filter_map(|(name, value)| {
        Some((name.strip_prefix("PORTCULLIS_LIMITS_")?.to_ascii_lowercase(), value))
    });
    let from_flags = flags.iter().map(|flag| match flag.split_once('=') {
        Some((name, value)) => (name.trim().to_owned(), value.trim().to_owned()),
        None => (flag.clone(), String::new()),
    });
    for (name, value) in from_file.chain(from_env).chain(from_flags) {
        match value.replace('_', "").parse::<u64>() {
            Ok(number) => {
                if let Err(e) = limits.set(&name, number) {
                    errors.push(e);
                }
            }
            Err(_) => errors.push(format!("limits.{name} is {value:?}; write a whole number")),
        }
    }
    limits
}

/// Keys of the file besides `limits.*`.
const KEYS: &[&str] = &[
    "listen",
    "data_dir",
    "store",
    "master_key_file",
    "bootstrap_token_file",
    "public_url",
    "egress.ca_file",
    "egress.dns_servers",
    "ledger.sync",
];

#[derive(Default)]
struct File {
    values: Vec<(String, toml::Value)>,
    limits: Vec<(String, String)>,
}

impl File {
    fn get(&self, key: &str) -> Option<&toml::Value> {
        self.values.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    fn text(&self, key: &str) -> Option<String> {
        self.get(key).and_then(toml::Value::as_str).map(str::to_owned)
    }

    fn list(&self, key: &str) -> Vec<String> {
        let items = self.get(key).and_then(toml::Value::as_array);
        items.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
    }
}

fn read_file(path: Option<&Path>, errors: &mut Vec<String>) -> File {
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
        let list = key == "egress.dns_servers";
        if (list && !value.is_array()) || (!list && !value.is_str()) {
            errors.push(format!("{key} must be {}", if list { "a list of texts" } else { "a text" }));
        }
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_reported_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portcullis.toml");
        std::fs::write(&path, "listn = \"x\"\nstore = \"mysql\"\n[limits]\nresponse_bytes = 0\n[egress]\ndns_servers = \"1.1.1.1\"\n").unwrap();
        let args = ConfigArgs {
            config: Some(path),
            listen: Some("nope".into()),
            limit: vec!["x=1".into()],
            ..ConfigArgs::default()
        };
        let errors = Config::load(&args).unwrap_err();
        for part in [
            "did you mean listen",
            "store is",
            "limits.response_bytes",
            "dns_servers must be a list",
            "listen is",
            "limits.x",
        ] {
            assert!(errors.iter().any(|e| e.contains(part)), "{part} in {errors:?}");
        }
    }

    #[test]
    fn a_flag_outranks_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portcullis.toml");
        std::fs::write(
            &path,
            "listen = \"127.0.0.1:1\"\n[egress]\ndns_servers = [\"9.9.9.9\", \"[2620:fe::fe]:5353\"]\n",
        )
        .unwrap();
        let mut args = ConfigArgs { config: Some(path), ..ConfigArgs::default() };
        let config = Config::load(&args).unwrap();
        assert_eq!(config.listen.port(), 1);
        assert_eq!(config.egress_dns_servers.iter().map(SocketAddr::port).collect::<Vec<_>>(), [53, 5353]);
        args.listen = Some("127.0.0.1:2".into());
        assert_eq!(Config::load(&args).unwrap().listen.port(), 2);
    }
}
