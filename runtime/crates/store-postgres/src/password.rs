//! The password of the database's role: from a file of its own, from systemd, or from PGPASSFILE; never from the
//! address or the command line.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::OpenPostgresError;
use crate::location::{Location, Reached};

/// Where the password may be; the first place that is given is the one. All empty: the server asks for none.
#[derive(Debug, Clone, Default)]
pub struct PasswordPlaces {
    /// A file with the password alone.
    pub file: Option<PathBuf>,
    /// systemd's `$CREDENTIALS_DIRECTORY`; the credential is `store_password`, and need not be there.
    pub credentials: Option<PathBuf>,
    /// `$PGPASSFILE`, in the format of PostgreSQL's own clients.
    pub pgpass: Option<PathBuf>,
}

/// The name of the systemd credential.
const CREDENTIAL: &str = "store_password";

/// No file of passwords is longer.
const FILE_BYTES_MAX: u64 = 64 * 1024;

impl PasswordPlaces {
    /// The password for this database, if one is kept for it.
    ///
    /// # Errors
    /// [`OpenPostgresError::File`] if a file that is named cannot be read, can be read by others, or is empty.
    pub(crate) fn password(
        &self,
        location: &Location,
    ) -> Result<Option<Zeroizing<String>>, OpenPostgresError> {
        if let Some(file) = &self.file {
            return whole(file).map(Some);
        }
        if let Some(file) = self.credentials.as_ref().map(|dir| dir.join(CREDENTIAL))
            && file.exists()
        {
            return whole(&file).map(Some);
        }
        let Some(file) = &self.pgpass else { return Ok(None) };
        let text = read(file)?;
        Ok(text.lines().find_map(|line| matching(line, location)))
    }
}

fn whole(file: &Path) -> Result<Zeroizing<String>, OpenPostgresError> {
    let text = read(file)?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() || password.contains(['\n', '\0']) {
        return Err(OpenPostgresError::file(file, "is not one line with a password"));
    }
    Ok(Zeroizing::new(password.to_owned()))
}

fn read(file: &Path) -> Result<Zeroizing<String>, OpenPostgresError> {
    let failed = |error: std::io::Error| OpenPostgresError::file(file, error);
    let metadata = std::fs::metadata(file).map_err(failed)?;
    if metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o777;
        return Err(OpenPostgresError::file(file, format!("others may read it (mode {mode:o}): chmod 600")));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(OpenPostgresError::file(file, format!("is longer than {FILE_BYTES_MAX} bytes")));
    }
    std::fs::read_to_string(file).map(Zeroizing::new).map_err(failed)
}

/// The password of a line `host:port:database:user:password` that fits; `*` fits all, `\` takes the next as it is.
fn matching(line: &str, location: &Location) -> Option<Zeroizing<String>> {
    if line.starts_with('#') {
        return None;
    }
    let mut rest = line;
    let mut next = || {
        let (field, after) = field(rest)?;
        rest = after;
        Some(field)
    };
    let (host, port, database, user) = (next()?, next()?, next()?, next()?);
    let hosts = match &location.reached {
        Reached::Hosts(hosts) => hosts.clone(),
        Reached::Socket(dir) => vec![dir.display().to_string(), "localhost".to_owned()],
    };
    let port_here = location.port.to_string();
    let user_here = location.user.as_deref().unwrap_or_default();
    let fits = (host == "*" || hosts.contains(&host))
        && (port == "*" || port == port_here)
        && (database == "*" || database == location.database)
        && (user == "*" || user == user_here);
    fits.then(|| Zeroizing::new(unescaped(rest)))
}

/// The text up to the next colon, and what follows it.
fn field(text: &str) -> Option<(String, &str)> {
    let mut escaped = false;
    let end = text.char_indices().find_map(|(at, char)| {
        let ends = char == ':' && !escaped;
        escaped = char == '\\' && !escaped;
        ends.then_some(at)
    })?;
    let (field, after) = text.split_at_checked(end)?;
    Some((unescaped(field), after.strip_prefix(':')?))
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        plain.push(if char == '\\' { chars.next().unwrap_or('\\') } else { char });
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file(dir: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn location(text: &str) -> Location {
        Location::parse(text).unwrap()
    }

    const PLACE: &str = "postgres://u@db.example/main?sslmode=verify-full";

    #[test]
    fn a_file_of_its_own_outranks_the_credential_which_outranks_pgpass() {
        let dir = tempfile::tempdir().unwrap();
        let own = file(dir.path(), "own", "of a file\n", 0o600);
        let credential = file(dir.path(), CREDENTIAL, "of systemd", 0o400);
        let pgpass = file(dir.path(), "pgpass", "*:*:*:*:of pgpass", 0o600);
        let mut places = PasswordPlaces {
            file: Some(own),
            credentials: Some(dir.path().to_owned()),
            pgpass: Some(pgpass),
        };
        let found = |places: &PasswordPlaces| {
            places.password(&location(PLACE)).unwrap().map(|password| password.as_str().to_owned())
        };
        assert_eq!(found(&places).as_deref(), Some("of a file"));
        places.file = None;
        assert_eq!(found(&places).as_deref(), Some("of systemd"));
        std::fs::remove_file(credential).unwrap();
        assert_eq!(found(&places).as_deref(), Some("of pgpass"));
        places.pgpass = None;
        assert_eq!(found(&places), None);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_and_one_that_they_may_not_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, taken) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            let file = Some(file(dir.path(), &format!("{mode:o}"), "secret", mode));
            let places = PasswordPlaces { file, ..PasswordPlaces::default() };
            assert_eq!(places.password(&location(PLACE)).is_ok(), taken, "{mode:o}");
        }
        let places = PasswordPlaces { file: Some(dir.path().join("none")), ..PasswordPlaces::default() };
        places.password(&location(PLACE)).unwrap_err();
    }

    #[test]
    fn lines_of_pgpass_fit_as_postgresql_reads_them() {
        let line = |line: &str, place: &str| matching(line, &location(place)).map(|p| p.as_str().to_owned());
        let socket = "postgres://u@/main?host=/run/pg";
        assert_eq!(line("db.example:5432:main:u:a:b\\\\c\\:", PLACE).as_deref(), Some("a:b\\c:"));
        assert_eq!(line("*:*:*:u:x", PLACE).as_deref(), Some("x"));
        assert_eq!(line("localhost:5432:main:u:x", socket).as_deref(), Some("x"));
        assert_eq!(line("/run/pg:5432:main:u:x", socket).as_deref(), Some("x"));
        for other in
            ["h:5432:main:u:x", "*:5433:main:u:x", "*:*:other:u:x", "*:*:*:v:x", "#*:*:*:u:x", "*:*:*", ""]
        {
            assert_eq!(line(other, PLACE), None, "{other}");
        }
    }
}
