//! Where the database is: the address in the configuration, read strictly.
//!
//! `postgres://user@host:port/db?sslmode=verify-full`, or `postgres:///db?host=/directory` for a Unix socket. What is
//! not understood is refused, and so is a connection over a network whose server is not verified.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::error::OpenPostgresError;

/// A database's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) reached: Reached,
    pub(crate) port: u16,
    pub(crate) database: String,
    /// `None`: the name of the process's user, as the driver takes it.
    pub(crate) user: Option<String>,
}

/// How the server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reached {
    /// Over TCP and TLS; the first of these hosts that takes writes.
    Hosts(Vec<String>),
    /// By the Unix socket in this directory.
    Socket(PathBuf),
}

const PORT: u16 = 5432;

fn refused(reason: impl Into<String>) -> OpenPostgresError {
    OpenPostgresError::Url(reason.into())
}

fn decoded(text: &str) -> Result<String, OpenPostgresError> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| refused("the address is not UTF-8"))?;
    if text.contains('\0') { Err(refused("the address has a NUL")) } else { Ok(text.into_owned()) }
}

/// What may follow the question mark.
#[derive(Default)]
struct Parameters {
    host: Option<String>,
    user: Option<String>,
    sslmode: Option<String>,
}

fn parameters(url: &Url) -> Result<Parameters, OpenPostgresError> {
    let mut found = Parameters::default();
    for (name, value) in url.query_pairs() {
        let place = match &*name {
            "host" => &mut found.host,
            "user" => &mut found.user,
            "sslmode" => &mut found.sslmode,
            "password" => return Err(password_in_address()),
            other => {
                return Err(refused(format!("parameter {other:?} is not known: host, user and sslmode are")));
            }
        };
        if place.replace(value.into_owned()).is_some() {
            return Err(refused(format!("parameter {name:?} is there twice")));
        }
    }
    Ok(found)
}

fn password_in_address() -> OpenPostgresError {
    refused(
        "a password in the address can be read by others on this machine: put it into store_password_file, PGPASSFILE \
         or the systemd credential store_password",
    )
}

impl Location {
    /// Reads an address.
    ///
    /// # Errors
    /// [`OpenPostgresError::Url`], which never repeats the address.
    pub(crate) fn parse(text: &str) -> Result<Self, OpenPostgresError> {
        // Why: `user@/db` with the socket in a parameter is usual, and not an address by the standard of URLs.
        let text = text.replacen("@/", "@socket.invalid/", 1);
        let url = Url::parse(&text).map_err(|error| refused(format!("not an address: {error}")))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(refused("the address must begin with postgres://"));
        }
        if url.password().is_some() {
            return Err(password_in_address());
        }
        if url.fragment().is_some() {
            return Err(refused("the address has a fragment"));
        }
        let Parameters { host, user, sslmode } = parameters(&url)?;
        let named = match url.username() {
            "" => None,
            name => Some(decoded(name)?),
        };
        let user = match (named, user) {
            (Some(_), Some(_)) => return Err(refused("the user is there twice")),
            (named, user) => named.or(user),
        };
        let database = decoded(url.path().trim_start_matches('/'))?;
        if database.is_empty() || database.contains('/') {
            return Err(refused("the address names no database: postgres://user@host/database"));
        }
        let in_place = url.host_str().filter(|host| *host != "socket.invalid" && !host.is_empty());
        let host = match (in_place, host) {
            (Some(_), Some(_)) => return Err(refused("the host is there twice")),
            (Some(host), None) => decoded(host)?,
            (None, Some(host)) => host,
            (None, None) => {
                return Err(refused("the address names no host: ?host=/directory for a Unix socket"));
            }
        };
        let reached = reached(&host, sslmode.as_deref())?;
        Ok(Self { reached, port: url.port().unwrap_or(PORT), database, user })
    }
}

fn reached(host: &str, sslmode: Option<&str>) -> Result<Reached, OpenPostgresError> {
    if host.starts_with('/') {
        return match sslmode {
            None | Some("disable") => Ok(Reached::Socket(PathBuf::from(host))),
            Some(_) => Err(refused("a Unix socket has no TLS: leave sslmode out")),
        };
    }
    match sslmode {
        Some("verify-full") => {}
        other => {
            let has = other.map_or_else(|| "has no sslmode".to_owned(), |mode| format!("has sslmode={mode}"));
            return Err(refused(format!(
                "the address {has}: over a network only sslmode=verify-full shows that the server is the right one; a \
                 Unix socket needs none"
            )));
        }
    }
    let hosts: Vec<String> = host.split(',').map(|host| host.trim_matches(['[', ']']).to_owned()).collect();
    if hosts.iter().any(String::is_empty) {
        return Err(refused("one of the hosts is empty"));
    }
    Ok(Reached::Hosts(hosts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why_refused(text: &str) -> String {
        Location::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_verified_server_is_taken_and_any_other_mode_is_refused_by_name() {
        let found = Location::parse("postgres://po%40rt@db.example:6432/main?sslmode=verify-full").unwrap();
        assert_eq!(found.reached, Reached::Hosts(vec!["db.example".to_owned()]));
        assert_eq!((found.port, &*found.database, found.user.as_deref()), (6432, "main", Some("po@rt")));
        for mode in ["?sslmode=require", "?sslmode=verify-ca", "?sslmode=disable", "?sslmode=prefer", ""] {
            let text = why_refused(&format!("postgres://u@127.0.0.1/main{mode}"));
            assert!(text.contains("verify-full"), "{text}");
        }
    }

    #[test]
    fn several_hosts_are_tried_in_order() {
        let found = Location::parse("postgresql://u@a.example,b.example/main?sslmode=verify-full").unwrap();
        assert_eq!(found.reached, Reached::Hosts(vec!["a.example".to_owned(), "b.example".to_owned()]));
        let found = Location::parse("postgresql://u@[::1]/main?sslmode=verify-full").unwrap();
        assert_eq!(found.reached, Reached::Hosts(vec!["::1".to_owned()]));
    }

    #[test]
    fn a_socket_needs_no_tls_and_has_none() {
        for text in [
            "postgres:///main?host=/run/pg&user=u",
            "postgres://u@/main?host=%2Frun%2Fpg",
            "postgres://u@%2Frun%2Fpg/main",
        ] {
            let found = Location::parse(text).unwrap();
            assert_eq!(found.reached, Reached::Socket(PathBuf::from("/run/pg")), "{text}");
            assert_eq!((&*found.database, found.user.as_deref()), ("main", Some("u")), "{text}");
        }
        assert!(why_refused("postgres:///main?host=/run/pg&sslmode=verify-full").contains("no TLS"));
    }

    #[test]
    fn a_password_is_refused_by_name_and_not_repeated() {
        for text in [
            "postgres://u:hunter2@db.example/main?sslmode=verify-full",
            "postgres://u@db.example/main?sslmode=verify-full&password=hunter2",
            "postgres://u:hunter2@/main?host=/run/pg",
        ] {
            let said = why_refused(text);
            assert!(said.contains("store_password_file") && !said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "mysql://u@h/main",
            "postgres://u@h?sslmode=verify-full",
            "postgres://u@h/a/b?sslmode=verify-full",
            "postgres://u@h/main?sslmode=verify-full&sslmode=verify-full",
            "postgres://u@h/main?sslmode=verify-full&options=-c%20fsync%3Doff",
            "postgres://u@h/main?sslmode=verify-full&host=/run",
            "postgres://u@h/main?sslmode=verify-full&user=v",
            "postgres:///main",
            "postgres://u@h,/main?sslmode=verify-full",
            "postgres://u@h/main?sslmode=verify-full#x",
            "not one",
        ] {
            Location::parse(text).unwrap_err();
        }
    }
}
