//! The socket by which a command asks the server that has its data directory. It is a file in that directory, its owner's
//! alone; who can use it could read the directory as well.
//!
//! A request is one frame. The answer is frames of data, and a last one that says what it came to: without it nothing is
//! whole. A frame is a byte for its kind, a length of four bytes, big-endian, and so many bytes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use portcullis_store::KnownBackup;
use serde::{Deserialize, Serialize};

/// The socket's name in a data directory.
pub(crate) const SOCKET: &str = "control.sock";

/// Longest path that an address of a socket takes, less its end.
const ADDRESS_BYTES_MAX: usize = 100;

/// Longest request: what is known of an earlier backup, some 200 bytes for each workspace.
const REQUEST_BYTES_MAX: u32 = 256 * 1024 * 1024;
/// Longest frame of an answer.
const FRAME_BYTES_MAX: u32 = 1024 * 1024;

/// What a command asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Request {
    /// A backup as it is, or what is new since another one.
    Backup {
        /// The other one.
        #[serde(default)]
        since: Option<Box<KnownBackup>>,
    },
}

/// What a backup came to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Made {
    pub(crate) seq: u64,
    pub(crate) records: u64,
    pub(crate) logs: u64,
    pub(crate) bytes: u64,
}

/// A kind of frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Data,
    Done,
    Failed,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Request => b'R',
            Self::Data => b'D',
            Self::Done => b'E',
            Self::Failed => b'F',
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Request, Self::Data, Self::Done, Self::Failed].into_iter().find(|kind| kind.byte() == byte)
    }
}

/// Writes a frame.
pub(crate) fn send(to: &mut impl Write, kind: Kind, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    to.write_all(&[kind.byte()])?;
    to.write_all(&length.to_be_bytes())?;
    to.write_all(bytes)
}

/// Reads a frame.
pub(crate) fn receive(from: &mut impl Read) -> io::Result<(Kind, Vec<u8>)> {
    let (mut byte, mut length) = ([0; 1], [0; 4]);
    from.read_exact(&mut byte)?;
    from.read_exact(&mut length)?;
    let (kind, length) = (Kind::of(u8::from_be_bytes(byte)), u32::from_be_bytes(length));
    let most = if kind == Some(Kind::Request) { REQUEST_BYTES_MAX } else { FRAME_BYTES_MAX };
    let kind = kind.filter(|_| length <= most);
    let kind = kind.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no frame of this product"))?;
    let mut bytes = Vec::new();
    let read = from.take(u64::from(length)).read_to_end(&mut bytes)?;
    if u32::try_from(read).ok() == Some(length) {
        return Ok((kind, bytes));
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// A path to the socket that is short enough for an address, as long as this value lives.
pub(crate) struct Address {
    pub(crate) path: PathBuf,
    /// Held for the number in the path.
    _dir: Option<File>,
}

impl Address {
    /// The address of a data directory's socket.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn of(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(SOCKET);
        if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
            return Ok(Self { path, _dir: None });
        }
        let dir = File::open(data_dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()));
        Ok(Self { path, _dir: Some(dir) })
    }
}

/// A connection to the server that has a data directory; `None` if none listens there.
///
/// # Errors
/// Those of the operating system: somebody listens and may not be asked.
pub(crate) fn connect(data_dir: &Path) -> io::Result<Option<UnixStream>> {
    use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
    let address = match Address::of(data_dir) {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(None),
        address => address?,
    };
    match UnixStream::connect(&address.path) {
        Ok(stream) => Ok(Some(stream)),
        // A socket that a process which was killed left.
        Err(error) if matches!(error.kind(), NotFound | NotADirectory | ConnectionRefused) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_and_half_of_one_does_not() {
        let mut sent = Vec::new();
        send(&mut sent, Kind::Data, b"some").unwrap();
        send(&mut sent, Kind::Done, b"").unwrap();
        let mut from = sent.as_slice();
        assert_eq!(receive(&mut from).unwrap(), (Kind::Data, b"some".to_vec()));
        assert_eq!(receive(&mut from).unwrap(), (Kind::Done, Vec::new()));
        for cut in 0..9 {
            assert!(receive(&mut &sent[..cut]).is_err(), "{cut}");
        }
        assert!(receive(&mut &b"D\xff\xff\xff\xff"[..]).is_err(), "longer than any");
        assert!(receive(&mut &b"x\0\0\0\0"[..]).is_err(), "no kind");
    }

    #[test]
    fn nobody_who_listens_is_nobody_to_ask_also_at_a_long_path() {
        let dir = tempfile::tempdir().unwrap();
        assert!(connect(dir.path()).unwrap().is_none());
        assert!(connect(&dir.path().join("none")).unwrap().is_none());
        let long = dir.path().join("a".repeat(120));
        std::fs::create_dir(&long).unwrap();
        let address = Address::of(&long).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(&address.path).unwrap();
        assert!(connect(&long).unwrap().is_some());
        drop(listener);
        assert!(connect(&long).unwrap().is_none(), "what a killed process leaves");
    }
}
