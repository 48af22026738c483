//! Configuration: file, environment and flags, in rising order of precedence. The only code that reads the
//! environment. Every error is reported at once; an unknown key is an error.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use portcullis_core::client_address::TrustedProxies;
use portcullis_core::id::NodeId;
use portcullis_core::limits::Limits;
use portcullis_engine::modules::{ModuleRules, TrustedKeys};
use portcullis_engine::nodes::node_of_host;
use portcullis_store::{BackupRecipient, CommandOptions, LedgerSync};

use crate::telemetry;

mod file;
mod master_key;
mod store;
mod variables;

use file::{File, read_file};
pub(crate) use master_key::{FoundKeys, KeySource};
use master_key::{MASTER_KEY, master_key_command};
pub(crate) use store::{StorePlace, place};
pub(crate) use variables::{proxy_variables, unknown_variables};

/// Which data directory: flags of every command that has one. Each is also an environment variable and a key of the
/// file.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DataDirArgs {
    /// Configuration file (TOML)
    #[arg(long, env = "PORTCULLIS_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Directory of records, ledger and master key; with PostgreSQL of caches alone
    #[arg(long, env = "PORTCULLIS_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// File outside the data directory that says how far the store was acknowledged
    #[arg(long, env = "PORTCULLIS_ANCHOR_FILE", value_name = "FILE")]
    pub(crate) anchor_file: Option<String>,
}

/// Where everything is kept that is not a cache.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct StoreArgs {
    /// `sled`, or PostgreSQL as postgres://user@host/db?sslmode=verify-full or postgres:///db?host=/socket/dir
    #[arg(long, env = "PORTCULLIS_STORE", value_name = "STORE")]
    pub(crate) store: Option<String>,
    /// PEM file of the only certificates by which the database's is verified [default: the public roots]
    #[arg(long, env = "PORTCULLIS_STORE_CA_FILE", value_name = "FILE")]
    pub(crate) store_ca_file: Option<String>,
    /// File with the password of the database's role and nothing else
    #[arg(long, env = "PORTCULLIS_STORE_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) store_password_file: Option<String>,
}

/// Flags of commands that open what is sealed.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct KeyArgs {
    /// File of the master keys, one on each line [default: master.key in the data directory]
    #[arg(long, env = "PORTCULLIS_MASTER_KEY_FILE", value_name = "FILE")]
    pub(crate) master_key_file: Option<String>,
}

/// Flags of commands that have to do with the first token.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct FirstTokenArgs {
    /// File with the first platform token; without it `init` creates one
    #[arg(long, env = "PORTCULLIS_BOOTSTRAP_TOKEN_FILE", value_name = "FILE")]
    pub(crate) bootstrap_token_file: Option<String>,
}

/// Every key of the configuration, as flags of `serve`; other commands take the parts that they read.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    pub(crate) data: DataDirArgs,
    #[command(flatten)]
    pub(crate) key: KeyArgs,
    #[command(flatten)]
    pub(crate) first_token: FirstTokenArgs,
    /// Name of this node in logs and in the ledgers of a database [default: the host's name]
    #[arg(long = "node-id", env = "PORTCULLIS_NODE_ID", value_name = "NAME")]
    pub(crate) node_id: Option<String>,
    /// Bring the database's schema to this version at the start, as `portcullis migrate` does
    #[arg(
        long,
        env = "PORTCULLIS_STORE_MIGRATE",
        value_name = "true|false",
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub(crate) store_migrate: Option<bool>,
    /// Address of the API
    #[arg(long, env = "PORTCULLIS_LISTEN", value_name = "ADDR:PORT")]
    pub(crate) listen: Option<String>,
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
    /// Address that serves /metrics without a token; loopback or a private network [default: none]
    #[arg(long = "metrics-listen", env = "PORTCULLIS_METRICS_LISTEN", value_name = "ADDR:PORT")]
    pub(crate) metrics_listen: Option<String>,
    /// Proxies whose Forwarded and X-Forwarded-For count, comma-separated [default: none]
    #[arg(long = "trusted-proxies", env = "PORTCULLIS_TRUSTED_PROXIES", value_name = "CIDR,…")]
    pub(crate) trusted_proxies: Option<String>,
    /// Public key (age1…) for which backups are sealed that leave by the API [default: none leave]
    #[arg(long = "backup-recipient", env = "PORTCULLIS_BACKUP_RECIPIENT", value_name = "KEY")]
    pub(crate) backup_recipient: Option<String>,
    /// A limit, such as `--limit response_bytes=1048576`; may be repeated
    #[arg(long = "limit", value_name = "NAME=NUMBER")]
    pub(crate) limit: Vec<String>,
    /// What to log: error, warn, info, debug, or a filter [default: info]
    #[arg(long, env = "PORTCULLIS_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

impl From<&DataDirArgs> for ConfigArgs {
    fn from(data: &DataDirArgs) -> Self {
        Self { data: data.clone(), ..Self::default() }
    }
}

/// What is logged where nothing else is said.
pub(crate) const LOG: &str = "info";

/// Checked configuration.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The configuration file, if there is one.
    pub(crate) file: Option<PathBuf>,
    pub(crate) listen: SocketAddr,
    /// Where the metrics are served without a token.
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Directory of all data.
    pub(crate) data_dir: PathBuf,
    /// Name of this node, if one was given.
    pub(crate) node_id: Option<NodeId>,
    /// Where records, ledger, runs and modules are.
    pub(crate) store: StorePlace,
    /// Whether `serve` brings the schema of a database to this version.
    pub(crate) store_migrate: bool,
    /// File of the master key, if it is not in the environment or the system's credentials.
    pub(crate) master_key_file: PathBuf,
    /// Whether the file was named, so that no other source may be used instead.
    pub(crate) master_key_file_named: bool,
    /// A program that asks the service which has the master keys.
    pub(crate) master_key_command: Option<CommandOptions>,
    /// File with the first platform token.
    pub(crate) bootstrap_token_file: Option<PathBuf>,
    /// Public URL of the product; third parties send people back to it after consent.
    pub(crate) public_url: String,
    /// File of extra roots, and its PEM.
    pub(crate) egress_ca_file: Option<PathBuf>,
    pub(crate) egress_ca_pem: Option<Vec<u8>>,
    /// DNS servers; if empty, the system's.
    pub(crate) egress_dns_servers: Vec<SocketAddr>,
    /// File outside the data directory that shows when an older store was put in the place of the newest.
    pub(crate) anchor_file: Option<PathBuf>,
    /// Proxies whose word on where a request came from counts.
    pub(crate) trusted_proxies: TrustedProxies,
    /// Which custom modules are taken.
    pub(crate) modules: ModuleRules,
    /// For whom backups are sealed that leave by the API.
    pub(crate) backup_recipient: Option<BackupRecipient>,
    /// Ledger durability.
    pub(crate) ledger_sync: LedgerSync,
    pub(crate) limits: Limits,
    /// What is logged.
    pub(crate) log: String,
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
        let file = read_file(args.data.config.as_deref(), &mut errors);
        let pick = |flag: &Option<String>, key: &str| flag.clone().or_else(|| file.text(key));
        let listen = pick(&args.listen, "listen").unwrap_or_else(|| "127.0.0.1:8080".to_owned());
        let listen = listen.parse().unwrap_or_else(|_| {
            errors.push(format!("listen is {listen:?}; write an address and port such as 127.0.0.1:8080"));
            SocketAddr::from(([127, 0, 0, 1], 8080))
        });
        let metrics_listen =
            pick(&args.metrics_listen, "metrics.listen").and_then(|text| metrics_address(&text, &mut errors));
        let data_dir = PathBuf::from(
            pick(&args.data.data_dir, "data_dir").unwrap_or_else(|| "./portcullis-data".to_owned()),
        );
        let node_id = pick(&args.node_id, "node_id").and_then(|text| store::node_id(&text, &mut errors));
        let store = store::read(&args.data.store, &file, &mut errors);
        let store_migrate = args.store_migrate.unwrap_or_else(|| file.flag("store_migrate"));
        let ledger_sync = match pick(&args.ledger_sync, "ledger.sync").as_deref().unwrap_or("group") {
            "group" => LedgerSync::Group,
            "strict" => LedgerSync::Strict,
            other => {
                errors.push(format!("ledger.sync is {other:?}; write group or strict"));
                LedgerSync::Group
            }
        };
        let key_file = pick(&args.key.master_key_file, "master_key_file").map(PathBuf::from);
        let egress_ca_file = pick(&args.egress_ca_file, "egress.ca_file").map(PathBuf::from);
        let egress_ca_pem = egress_ca_file.as_ref().and_then(|path| match std::fs::read(path) {
            Ok(pem) => Some(pem),
            Err(e) => {
                errors.push(format!("egress.ca_file {} cannot be read: {e}", path.display()));
                None
            }
        });
        let servers = file.list_or("egress.dns_servers", args.egress_dns_servers.as_deref());
        let proxies = file.list_or("trusted_proxies", args.trusted_proxies.as_deref());
        let trusted_proxies = TrustedProxies::parse(&proxies).unwrap_or_else(|error| {
            errors.push(format!("trusted_proxies {error}"));
            TrustedProxies::default()
        });
        let egress_dns_servers = servers.iter().filter_map(|text| dns_server(text, &mut errors)).collect();
        let limits = limits(&file, &args.limit, &mut errors);
        let public_url =
            pick(&args.public_url, "public_url").filter(|url| check_public_url(url, &mut errors));
        let log = pick(&args.log, "log").unwrap_or_else(|| LOG.to_owned());
        errors.extend(telemetry::parse(&log).err());
        let anchor_file = pick(&args.data.anchor_file, "anchor_file").map(PathBuf::from);
        check_anchor_file(anchor_file.as_deref(), &data_dir, &store, &mut errors);
        let modules = module_rules(&file, &mut errors);
        let recipient = pick(&args.backup_recipient, "backup.recipient");
        let backup_recipient = recipient.and_then(|text| backup_recipient(&text, &mut errors));
        let master_key_command = master_key_command(&file, &limits, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            file: args.data.config.clone(),
            node_id,
            store,
            store_migrate,
            listen,
            metrics_listen,
            anchor_file,
            master_key_command,
            master_key_file_named: key_file.is_some(),
            master_key_file: key_file.unwrap_or_else(|| data_dir.join("master.key")),
            data_dir,
            bootstrap_token_file: pick(&args.first_token.bootstrap_token_file, "bootstrap_token_file")
                .map(PathBuf::from),
            public_url: public_url.unwrap_or_else(|| format!("http://{listen}")),
            egress_ca_file,
            egress_ca_pem,
            egress_dns_servers,
            trusted_proxies,
            modules,
            backup_recipient,
            ledger_sync,
            limits,
            log,
        })
    }

    /// The name of this node: the configured one, or one that no other process has.
    ///
    /// # Errors
    /// A sentence; a host without a name has a node with a random one.
    pub(crate) fn node(&self) -> Result<NodeId, String> {
        if let Some(node) = &self.node_id {
            return Ok(node.clone());
        }
        let host = std::fs::read_to_string(store::HOST_NAME).unwrap_or_default();
        node_of_host(&host).map_err(|error| error.to_string())
    }

    /// The names of the keys whose values differ.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let keys = [
            ("node_id", self.node_id != other.node_id),
            ("listen", self.listen != other.listen),
            ("metrics.listen", self.metrics_listen != other.metrics_listen),
            ("data_dir", self.data_dir != other.data_dir),
            ("store", self.store.url() != other.store.url()),
            ("store_ca_file", self.store.ca_file() != other.store.ca_file()),
            ("store_password_file", self.store.password_file() != other.store.password_file()),
            ("store_migrate", self.store_migrate != other.store_migrate),
            ("public_url", self.public_url != other.public_url),
            ("egress.ca_file", self.egress_ca_pem != other.egress_ca_pem),
            ("egress.dns_servers", self.egress_dns_servers != other.egress_dns_servers),
            ("ledger.sync", self.ledger_sync != other.ledger_sync),
            ("trusted_proxies", self.trusted_proxies != other.trusted_proxies),
            ("anchor_file", self.anchor_file != other.anchor_file),
            ("modules", self.modules != other.modules),
            ("backup.recipient", self.backup_recipient != other.backup_recipient),
            ("log", self.log != other.log),
        ];
        let keys = keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key.to_owned());
        let limits = self.limits.values().into_iter().zip(other.limits.values());
        keys.chain(limits.filter(|(own, other)| own != other).map(|((name, _), _)| format!("limits.{name}")))
            .collect()
    }
}

fn metrics_address(text: &str, errors: &mut Vec<String>) -> Option<SocketAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        errors.push(format!("metrics.listen is {text:?}; write an address and port such as 127.0.0.1:9464"));
    }
    address
}

fn backup_recipient(text: &str, errors: &mut Vec<String>) -> Option<BackupRecipient> {
    let recipient = BackupRecipient::parse(text);
    recipient.map_err(|reason| errors.push(format!("backup.recipient: {reason}"))).ok()
}

fn module_rules(file: &File, errors: &mut Vec<String>) -> ModuleRules {
    let trusted_keys = TrustedKeys::parse(&file.list("modules.trusted_keys")).unwrap_or_else(|error| {
        errors.push(format!("modules.trusted_keys: {error}"));
        TrustedKeys::default()
    });
    let (require_signature, allow_std) =
        (file.flag("modules.require_signature"), file.flag("modules.allow_std"));
    ModuleRules { trusted_keys, require_signature, allow_std }
}

/// In the data directory it would be put back together with the store. A database is not put back by this program.
fn check_anchor_file(anchor: Option<&Path>, data_dir: &Path, store: &StorePlace, errors: &mut Vec<String>) {
    let Some(anchor) = anchor else { return };
    if store.is_shared() {
        errors.push(
            "anchor_file belongs to the store of a data directory; leave it out with PostgreSQL".to_owned(),
        );
        return;
    }
    let place = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    let parent = anchor.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        errors.push(format!("anchor_file {}: there is no directory {}", anchor.display(), parent.display()));
    } else if let (Ok(parent), Ok(data)) = (place(parent), place(data_dir))
        && parent.starts_with(&data)
    {
        errors.push(format!(
            "anchor_file {} is in the data directory; choose a place outside it, on another disk if there is one",
            anchor.display()
        ));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_reported_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portcullis.toml");
        std::fs::write(&path, "listn = \"x\"\nstore = \"mysql\"\n[limits]\nresponse_bytes = 0\n[egress]\ndns_servers = \"1.1.1.1\"\n").unwrap();
        let args = ConfigArgs {
            data: DataDirArgs { config: Some(path), ..DataDirArgs::default() },
            listen: Some("nope".into()),
            log: Some("portcullis=loud".into()),
            metrics_listen: Some("9464".into()),
            trusted_proxies: Some("10.0.0.1, everyone".into()),
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
            "metrics.listen is",
            "trusted_proxies has \"everyone\"",
            "log is",
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
        let data = DataDirArgs { config: Some(path), ..DataDirArgs::default() };
        let mut args = ConfigArgs::from(&data);
        let config = Config::load(&args).unwrap();
        assert_eq!(config.listen.port(), 1);
        assert_eq!(config.egress_dns_servers.iter().map(SocketAddr::port).collect::<Vec<_>>(), [53, 5353]);
        args.listen = Some("127.0.0.1:2".into());
        let other = Config::load(&args).unwrap();
        assert_eq!(other.listen.port(), 2);
        args.metrics_listen = Some("127.0.0.1:3".into());
        args.limit = vec!["dns_ms=1".into()];
        let third = Config::load(&args).unwrap();
        assert_eq!(config.differences(&third), ["listen", "metrics.listen", "public_url", "limits.dns_ms"]);
        assert_eq!(config.differences(&config), [""; 0]);
    }
}
