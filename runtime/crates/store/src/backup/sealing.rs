//! Sealing a backup for a person: the age format, with an X25519 key. Its own tools open it, too.

use std::fmt;
use std::io::{Read, Write};
use std::str::FromStr as _;

use age::stream::StreamWriter;
use age::x25519;
use age::{Decryptor, Encryptor};

use super::BackupError;

/// The beginning of everything that is sealed in this way.
pub(super) const MAGIC: &[u8] = b"age-encryption.org/v1";

/// Whoever can open a backup, by a public key.
#[derive(Clone)]
pub struct BackupRecipient(x25519::Recipient);

impl BackupRecipient {
    /// Reads a public key, `age1…`.
    ///
    /// # Errors
    /// A sentence saying what it must be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let key = x25519::Recipient::from_str(text.trim());
        key.map(Self)
            .map_err(|_| "it must be an age X25519 public key, age1… (age-keygen makes one)".to_owned())
    }
}

impl fmt::Display for BackupRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for BackupRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackupRecipient({})", self.0)
    }
}

impl PartialEq for BackupRecipient {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_string() == other.0.to_string()
    }
}

/// The keys that open a backup.
#[derive(Clone)]
pub struct BackupIdentity(Vec<x25519::Identity>);

impl fmt::Debug for BackupIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackupIdentity")
    }
}

impl BackupIdentity {
    /// Reads the text of an identity file: `AGE-SECRET-KEY-1…`, one on a line, and comments.
    ///
    /// # Errors
    /// A sentence saying what is wrong; it quotes nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys = lines.map(x25519::Identity::from_str).collect::<Result<Vec<_>, _>>();
        match keys {
            Ok(keys) if !keys.is_empty() => Ok(Self(keys)),
            Ok(_) => Err("there is no key in it".to_owned()),
            Err(_) => Err("it must have age X25519 keys alone, AGE-SECRET-KEY-1…, one on a line".to_owned()),
        }
    }
}

/// What seals everything that is written to it; it must be finished.
pub(super) fn seal<W: Write>(to: W, recipient: &BackupRecipient) -> Result<StreamWriter<W>, BackupError> {
    let recipients = std::iter::once(&recipient.0 as &dyn age::Recipient);
    let failed = |reason: String| BackupError::Output(std::io::Error::other(reason));
    let encryptor = Encryptor::with_recipients(recipients).map_err(|error| failed(error.to_string()))?;
    encryptor.wrap_output(to).map_err(BackupError::Output)
}

/// What is sealed in `from`; `file` names it in errors.
pub(super) fn open<R: Read + Send + 'static>(
    file: &str,
    from: R,
    identity: Option<&BackupIdentity>,
) -> Result<Box<dyn Read + Send>, BackupError> {
    let Some(identity) = identity else {
        return Err(BackupError::refused(
            file,
            "it is sealed; give the key that opens it with --identity FILE",
        ));
    };
    let bad = |error: age::DecryptError| {
        let reason = match error {
            age::DecryptError::NoMatchingKeys => {
                "it is sealed for another key than that of --identity".to_owned()
            }
            other => format!("it cannot be opened: {other}"),
        };
        BackupError::refused(file, reason)
    };
    let decryptor = Decryptor::new(from).map_err(bad)?;
    let identities = identity.0.iter().map(|key| key as &dyn age::Identity);
    Ok(Box::new(decryptor.decrypt(identities).map_err(bad)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_key_and_with_no_other() {
        let (key, other) = (x25519::Identity::generate(), x25519::Identity::generate());
        let recipient = BackupRecipient::parse(&key.to_public().to_string()).unwrap();
        let mut sealed = Vec::new();
        let mut writer = seal(&mut sealed, &recipient).unwrap();
        writer.write_all(b"content").unwrap();
        writer.finish().unwrap();
        assert!(sealed.starts_with(MAGIC) && !sealed.windows(7).any(|part| part == b"content"));
        let identity = |key: &x25519::Identity| {
            use age::secrecy::ExposeSecret as _;
            BackupIdentity::parse(&format!("# a comment\n{}\n", key.to_string().expose_secret())).unwrap()
        };
        let opened = |sealed: &[u8], identity: Option<&BackupIdentity>| {
            let mut content = Vec::new();
            let mut from = open("a.bak", std::io::Cursor::new(sealed.to_vec()), identity)?;
            from.read_to_end(&mut content).map(|_| content).map_err(BackupError::Output)
        };
        assert_eq!(opened(&sealed, Some(&identity(&key))).unwrap(), b"content");
        for (identity, part) in [(Some(identity(&other)), "another key"), (None, "--identity")] {
            let refused = opened(&sealed, identity.as_ref()).unwrap_err().to_string();
            assert!(refused.contains(part), "{refused}");
        }
        let last = sealed.len() - 1;
        sealed[last] ^= 1;
        assert!(opened(&sealed, Some(&identity(&key))).is_err(), "a changed byte is noticed");
        assert!(BackupIdentity::parse("# nothing").is_err());
        let wrong = BackupIdentity::parse("AGE-SECRET-KEY-1NOTONE").unwrap_err();
        assert!(!wrong.contains("NOTONE"), "{wrong}");
        assert!(BackupRecipient::parse("ssh-ed25519 AAAA").is_err());
    }
}
