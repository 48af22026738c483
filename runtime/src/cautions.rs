//! What around the process is risky or mistyped, though it can work: in the log of a start, and told by
//! `serve --check` and `doctor`.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::config::{Config, KeySource, unknown_variables};

/// What others must not have on a secret.
const PRIVATE: u32 = 0o077;
/// What others must not have on what decides where the process goes.
const UNCHANGED: u32 = 0o022;
/// In such a folder only the owner of a file may exchange it, whoever may write there.
const STICKY: u32 = 0o1000;

/// Everything that is worth a look, a sentence each.
pub(crate) fn all(config: &Config, known_variables: &BTreeSet<String>) -> Vec<String> {
    let mut found = master_key(config);
    found.extend(look(&config.data_dir, "the data directory", PRIVATE));
    let files = [
        (config.bootstrap_token_file.as_ref(), "the bootstrap token file", PRIVATE),
        (config.file.as_ref(), "the configuration file", UNCHANGED),
        (config.egress_ca_file.as_ref(), "egress.ca_file", UNCHANGED),
    ];
    for (path, name, forbidden) in files {
        found.extend(path.and_then(|path| look(path, name, forbidden)));
    }
    let program = config.master_key_command.as_ref().and_then(|command| command.argv.first());
    // Why: whoever can change it, or exchange it, sees every key that it is asked to open.
    found.extend(
        program.and_then(|path| look(Path::new(path), "the program of master_key_command", UNCHANGED)),
    );
    // A password file that others can read is refused where it is read.
    found.extend(config.store.ca_file().and_then(|path| look(path, "store_ca_file", UNCHANGED)));
    found.extend(config.store.password_file().and_then(|path| folder_of(path, "store_password_file")));
    found.extend(migrating_nodes(config));
    found.extend(config.metrics_listen.and_then(open_metrics));
    found.extend(mistyped(known_variables));
    found
}

/// A sentence if others can exchange a file, because they may write to its folder.
fn folder_of(path: &Path, name: &str) -> Option<String> {
    let folder = std::path::absolute(path).ok()?.parent()?.canonicalize().ok()?;
    look(&folder, &format!("the folder of {name}"), UNCHANGED)
}

/// A sentence if nodes change the schema: they then have a role that may do anything to what they only add to otherwise.
fn migrating_nodes(config: &Config) -> Option<String> {
    let told = "store_migrate is on: the nodes' role owns the schema then, and could change the ledger; a role that only \
                serves cannot (docs/scale.md)";
    (config.store.is_shared() && config.store_migrate).then(|| told.to_owned())
}

/// A sentence if the metrics, which need no token, can be read from more than this machine or a private network.
fn open_metrics(address: SocketAddr) -> Option<String> {
    let is_inside = match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    (!is_inside).then(|| {
        format!(
            "metrics.listen is {address}: everybody who reaches that address reads the metrics without a token; use \
             127.0.0.1 or an address of a private network"
        )
    })
}

/// Variables that look like this program's and are not.
pub(crate) fn mistyped(known_variables: &BTreeSet<String>) -> Vec<String> {
    let tell = |(name, near): (String, Option<String>)| {
        let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        format!("the environment variable {name} is set, and no command reads it{hint}")
    };
    unknown_variables(known_variables).into_iter().map(tell).collect()
}

/// Whether the address can be had at all. A server that runs already has it: then this is no mistake.
pub(crate) fn address(config: &Config) -> Option<String> {
    let error = std::net::TcpListener::bind(config.listen).err()?;
    let reason = if error.kind() == std::io::ErrorKind::AddrInUse {
        "is in use; `serve` stops at once unless the program that has it stops first".to_owned()
    } else {
        format!("cannot be listened on: {error}")
    };
    Some(format!("listen {} {reason}", config.listen))
}

fn master_key(config: &Config) -> Vec<String> {
    // Why nothing on an error: the command that needs the key reports it.
    let source = config.find_master_keys().ok().flatten().map(|(_, source)| source);
    let path = match source {
        Some(KeySource::File(path)) => path,
        Some(KeySource::Environment) => {
            let text = "the master key is in the environment (PORTCULLIS_MASTER_KEY), where other processes of the \
                        same user can read it; use PORTCULLIS_MASTER_KEY_FILE or systemd's credentials";
            return vec![text.to_owned()];
        }
        Some(KeySource::Credentials | KeySource::Command) | None => return Vec::new(),
    };
    let mut found: Vec<String> = look(&path, "the master key file", PRIVATE).into_iter().collect();
    // Who may write to the folder can exchange the file: that of the path, and where it is a link, that of its end.
    let mut folders = BTreeSet::new();
    for path in [std::path::absolute(&path).ok(), path.canonicalize().ok()].into_iter().flatten() {
        folders.extend(path.parent().and_then(|folder| folder.canonicalize().ok()));
    }
    if let Ok(data_dir) = config.data_dir.canonicalize() {
        // It is looked at by itself.
        folders.remove(&data_dir);
    }
    found.extend(folders.iter().filter_map(|folder| look(folder, "the folder of the master key", UNCHANGED)));
    found
}

/// A sentence if others than its owner may do with it what they must not.
fn look(path: &Path, name: &str, forbidden: u32) -> Option<String> {
    let metadata = std::fs::metadata(path).ok()?;
    let problem = problem(&metadata, forbidden, rustix::process::geteuid().as_raw())?;
    Some(format!("{name} {} {problem}", path.display()))
}

fn problem(metadata: &Metadata, forbidden: u32, own: u32) -> Option<String> {
    judge(metadata.mode(), metadata.uid(), metadata.is_dir(), forbidden, own)
}

fn judge(mode: u32, owner: u32, is_dir: bool, forbidden: u32, own: u32) -> Option<String> {
    let open = mode & forbidden;
    let sticky = is_dir && forbidden == UNCHANGED && mode & STICKY != 0;
    if open != 0 && !sticky {
        let what = match (open & 0o022 != 0, is_dir) {
            (true, true) => "can exchange what is in it",
            (true, false) => "can change it",
            (false, true) => "can look into it",
            (false, false) => "can read it",
        };
        // Only what is too much is taken away.
        let right =
            if forbidden == PRIVATE { if is_dir { 0o700 } else { 0o600 } } else { mode & 0o777 & !forbidden };
        return Some(format!("has mode {:o}: others {what}; run chmod {right:o}", mode & 0o777));
    }
    // root may do anything anyway.
    (owner != own && owner != 0)
        .then(|| format!("belongs to user {owner}, who can change it; this process runs as user {own}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_may_read_or_exchange_is_told_with_the_remedy() {
        let told = |mode, owner, is_dir, forbidden| judge(mode, owner, is_dir, forbidden, 7);
        for (mode, is_dir, forbidden, expected) in [
            (0o100_644, false, PRIVATE, "has mode 644: others can read it; run chmod 600"),
            (0o100_440, false, PRIVATE, "has mode 440: others can read it; run chmod 600"),
            (0o100_620, false, PRIVATE, "has mode 620: others can change it; run chmod 600"),
            (0o040_755, true, PRIVATE, "has mode 755: others can look into it; run chmod 700"),
            (0o040_777, true, PRIVATE, "has mode 777: others can exchange what is in it; run chmod 700"),
            (0o100_666, false, UNCHANGED, "has mode 666: others can change it; run chmod 644"),
            (0o040_775, true, UNCHANGED, "has mode 775: others can exchange what is in it; run chmod 755"),
        ] {
            assert_eq!(told(mode, 7, is_dir, forbidden).as_deref(), Some(expected), "{mode:o}");
        }
        for (mode, is_dir, forbidden) in [
            (0o100_600, false, PRIVATE),
            (0o100_400, false, PRIVATE),
            (0o040_700, true, PRIVATE),
            (0o100_644, false, UNCHANGED),
            (0o040_755, true, UNCHANGED),
            (0o041_777, true, UNCHANGED),
        ] {
            assert_eq!(told(mode, 7, is_dir, forbidden), None, "{mode:o}");
        }
    }

    #[test]
    fn metrics_that_others_can_read_are_told() {
        for (address, told) in [
            ("127.0.0.1:9464", false),
            ("10.1.2.3:9464", false),
            ("[::1]:9464", false),
            ("[fd00::1]:9464", false),
            ("0.0.0.0:9464", true),
            ("[::]:9464", true),
            ("93.184.216.34:9464", true),
        ] {
            assert_eq!(open_metrics(address.parse().unwrap()).is_some(), told, "{address}");
        }
    }

    #[test]
    fn what_belongs_to_another_user_is_told_unless_that_is_root() {
        assert!(judge(0o100_600, 8, false, PRIVATE, 7).unwrap().contains("belongs to user 8"));
        assert_eq!(judge(0o100_600, 0, false, PRIVATE, 7), None);
        assert!(judge(0o100_600, 8, false, PRIVATE, 0).unwrap().contains("runs as user 0"));
    }
}
