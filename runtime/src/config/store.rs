//! Where records, ledger, runs and modules are kept: in the data directory, or in PostgreSQL.

use std::path::{Path, PathBuf};

use portcullis_core::id::NodeId;
use portcullis_store_postgres::{PasswordPlaces, PostgresOptions};

use super::file::File;
use super::{Config, StoreArgs};

/// The place of everything that is not a cache.
#[derive(Debug, Clone)]
pub(crate) enum StorePlace {
    /// The data directory, which one process has to itself.
    Directory,
    /// A database, which any number of processes share.
    Postgres(Box<PostgresOptions>),
}

impl StorePlace {
    /// The database, if it is one.
    pub(crate) fn postgres(&self) -> Option<&PostgresOptions> {
        match self {
            Self::Directory => None,
            Self::Postgres(options) => Some(options),
        }
    }

    /// Whether several processes may use it at once.
    pub(crate) const fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Its address, which holds no secret.
    pub(super) fn url(&self) -> &str {
        self.postgres().map_or(SLED, |options| options.url.as_str())
    }

    /// The file with the database's certificates.
    pub(crate) fn ca_file(&self) -> Option<&Path> {
        self.postgres().and_then(|options| options.ca_file.as_deref())
    }

    /// The file with the password, if one was named.
    pub(crate) fn password_file(&self) -> Option<&Path> {
        self.postgres().and_then(|options| options.password.file.as_deref())
    }
}

impl Config {
    /// Under which name this node writes its chains of the ledgers: the configured one, or the host's. Why the same after a
    /// restart: each name makes a chain for each org.
    ///
    /// # Errors
    /// The host has no name that can be one.
    pub(crate) fn ledger_node(&self) -> Result<NodeId, String> {
        if let Some(node) = &self.node_id {
            return Ok(node.clone());
        }
        let name = std::fs::read_to_string(HOST_NAME).unwrap_or_default();
        let plain = |c: &char| c.is_ascii_alphanumeric() || ".-".contains(*c);
        let name: String = name.trim().chars().filter(plain).take(NODE_NAME_CHARS).collect();
        let named = NodeId::parse(name.trim_matches(['.', '-']));
        named.map_err(|_| "the host has no name that a node can have; set node_id".to_owned())
    }
}

/// Where Linux says the host's name.
pub(super) const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// Longest name of a node.
const NODE_NAME_CHARS: usize = 63;

/// The name of a node, as it was given.
pub(super) fn node_id(text: &str, errors: &mut Vec<String>) -> Option<NodeId> {
    NodeId::parse(text).map_err(|error| errors.push(format!("node_id is {text:?}; {error}"))).ok()
}

/// The store of a data directory.
const SLED: &str = "sled";

/// Whether a text names a database.
pub(crate) fn is_postgres(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

/// Reads the keys of the store.
pub(super) fn read(args: &StoreArgs, file: &File, errors: &mut Vec<String>) -> StorePlace {
    let pick = |flag: &Option<String>, key: &str| flag.clone().or_else(|| file.text(key));
    let store = pick(&args.store, "store").unwrap_or_else(|| SLED.to_owned());
    let ca_file = pick(&args.store_ca_file, "store_ca_file").map(PathBuf::from);
    let password_file = pick(&args.store_password_file, "store_password_file").map(PathBuf::from);
    if store == SLED && args.store.is_none() {
        // Why not where sled was asked for by a flag: the file may be that of the database.
        for (key, file) in [("store_ca_file", &ca_file), ("store_password_file", &password_file)] {
            if file.is_some() {
                errors.push(format!("{key} belongs to a database, and store is sled"));
            }
        }
    }
    match place(&store, ca_file, password_file) {
        Ok(place) => place,
        Err(error) => {
            errors.push(error);
            StorePlace::Directory
        }
    }
}

/// A store from its text, and the files that belong to it.
///
/// # Errors
/// A sentence naming the key; it repeats no address, which may hold a password.
pub(crate) fn place(
    text: &str,
    ca_file: Option<PathBuf>,
    password_file: Option<PathBuf>,
) -> Result<StorePlace, String> {
    if text == SLED {
        return Ok(StorePlace::Directory);
    }
    if !is_postgres(text) {
        // Why not repeated beyond its beginning: an address of another form may hold a password as well.
        let begin = text.split([':', '/', '@']).next().unwrap_or_default();
        return Err(format!(
            "store is {begin:?}…; write sled or postgres://user@host/db?sslmode=verify-full"
        ));
    }
    let mut options = PostgresOptions::new(text);
    options.ca_file = ca_file;
    options.password = passwords(password_file);
    options.check_address().map_err(|error| error.to_string())?;
    Ok(StorePlace::Postgres(Box::new(options)))
}

/// Where the database's password may be: never in the address, and on no command line.
#[allow(clippy::disallowed_methods, reason = "configuration is where the environment is read")]
fn passwords(file: Option<PathBuf>) -> PasswordPlaces {
    PasswordPlaces {
        file,
        credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        pgpass: std::env::var_os("PGPASSFILE").map(PathBuf::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        place(text, None, None).unwrap_err()
    }

    #[test]
    fn a_password_in_the_address_is_refused_by_name_and_is_not_repeated() {
        for text in [
            "postgres://u:hunter2@db.example/main?sslmode=verify-full",
            "postgres://db.example/main?password=hunter2",
        ] {
            let error = refused(text);
            assert!(error.contains("password") && error.contains("store_password_file"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let place = place("postgres://u@db.example/main?sslmode=verify-full", None, None).unwrap();
        assert!(place.is_shared());
    }

    #[test]
    fn a_network_needs_a_verified_server_and_a_socket_does_not() {
        for mode in ["", "?sslmode=require", "?sslmode=verify-ca", "?sslmode=disable"] {
            assert!(refused(&format!("postgres://u@127.0.0.1/main{mode}")).contains("verify-full"), "{mode}");
        }
        assert!(place("postgres:///main?host=/run/postgresql", None, None).unwrap().is_shared());
    }

    #[test]
    fn another_engine_and_files_without_a_database_are_refused() {
        let error = refused("mysql://root:hunter2@h/d");
        assert!(error.starts_with("store is \"mysql\"") && !error.contains("hunter2"), "{error}");
        let args = StoreArgs { store_password_file: Some("f".into()), ..StoreArgs::default() };
        let mut errors = Vec::new();
        assert!(!read(&args, &File::default(), &mut errors).is_shared());
        assert!(errors[0].contains("store_password_file belongs to a database"), "{errors:?}");
    }
}
