//! The process: its locks, logs, signals, limits and the files that its commands make.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Read, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::Client;
use crate::support::binary::{SERVE, command};

mod backups;
mod cautions;
mod first_token;
mod locks;
mod logs;
mod modes;
mod signals;
mod space;

/// Longest time for anything that should be done at once.
const SOON: Duration = Duration::from_secs(20);

/// A serving process whose standard error is the test's choice. Killed when dropped.
struct Serving {
    child: Child,
    address: SocketAddr,
}

impl Serving {
    /// `portcullis serve` on a free port, with further arguments.
    fn start(dir: &Path, more: &[&str], log: impl Into<Stdio>) -> Self {
        Self::of(command(dir, &[&SERVE, more].concat()), log)
    }

    fn of(mut command: Command, log: impl Into<Stdio>) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (told, line) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // Why ignored: the test may have given up.
            let _ = told.send(out.read_line(&mut line).map(|_| line));
            std::io::copy(&mut out, &mut std::io::sink())
        });
        let Ok(line) = line.recv_timeout(SOON) else {
            child.kill().unwrap();
            panic!("it does not come up");
        };
        let line = line.unwrap();
        let address = line.trim().split_once(" listening on http://").expect("not serving").1;
        let address = address.parse().unwrap();
        Self { child, address }
    }

    fn client(&self, token: &str) -> Client {
        Client::new(self.address).with_token(token)
    }

    /// Sends a signal by its name, such as `HUP`.
    fn signal(&self, name: &str) {
        let line = format!("kill -s {name} {}", self.child.id());
        let sent = Command::new("/bin/sh").args(["-c", &line]).status().unwrap();
        assert!(sent.success(), "{line}");
    }

    /// The status of the process, which ends by itself within this time.
    fn ends_within(&mut self, time: Duration) -> ExitStatus {
        ends_within(&mut self.child, time)
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Why ignored: it may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ends_within(child: &mut Child, time: Duration) -> ExitStatus {
    let deadline = Instant::now() + time;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it has not ended within {time:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a future gives, within a time in which anything that is not stuck is done.
async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work).await.unwrap_or_else(|_| panic!("stuck: {what}"))
}

/// A pipe whose writing end takes nothing more as long as nobody reads the other end.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut filling = writer.try_clone().unwrap();
    let (pieces, full) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (counted, stop) = (Arc::clone(&pieces), Arc::clone(&full));
    std::thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) && filling.write_all(b"\n").is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut before = 0;
    loop {
        std::thread::sleep(Duration::from_millis(50));
        let now = pieces.load(Ordering::SeqCst);
        if now > 0 && now == before {
            full.store(true, Ordering::SeqCst);
            return (reader, writer);
        }
        before = now;
    }
}

/// Text that arrives, read by a thread.
#[derive(Clone, Default)]
struct Arriving(Arc<Mutex<String>>);

impl Arriving {
    fn from(mut source: impl Read + Send + 'static) -> Self {
        let arriving = Self::default();
        let into = arriving.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 65536];
            while let Ok(length @ 1..) = source.read(&mut piece) {
                into.0.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
            }
        });
        arriving
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    /// Waits until the text contains this.
    async fn shows(&self, part: &str) {
        self.shows_times(part, 1).await;
    }

    /// Waits until the text contains this so often.
    async fn shows_times(&self, part: &str, times: usize) {
        let deadline = Instant::now() + SOON;
        while self.text().matches(part).count() < times {
            assert!(Instant::now() < deadline, "{part:?} {times} times in {}", self.text());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Every path below a directory, without what is in the store's own files.
fn listing(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(dir, &mut |path| {
        found.insert(path.display().to_string());
    });
    found
}

fn walk(dir: &Path, each: &mut impl FnMut(&Path)) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        each(&path);
        if path.is_dir() && !path.is_symlink() {
            walk(&path, each);
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}
