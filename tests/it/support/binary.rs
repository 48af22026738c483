//! The built binary, run as a user runs it, with an empty environment.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The binary of this build, which is in a folder above the test binary.
pub(crate) fn path() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let found = own.ancestors().skip(1).map(|dir| dir.join("portcullis")).find(|path| path.is_file());
    found.expect("no portcullis binary beside the tests; build it with: cargo build --workspace --bins")
}

/// A command with an empty environment, in this directory.
pub(crate) fn command(dir: &Path, arguments: &[&str]) -> Command {
    alone(Command::new(path()), dir, arguments)
}

/// The same, run by a shell behind these words.
pub(crate) fn command_behind(words: &str, dir: &Path, arguments: &[&str]) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(format!("{words} \"$0\" \"$@\"")).arg(path());
    alone(shell, dir, arguments)
}

fn alone(mut command: Command, dir: &Path, arguments: &[&str]) -> Command {
    command.args(arguments).env_clear().current_dir(dir).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(dir: &Path, arguments: &[&str]) -> Ran {
    Ran::of(command(dir, arguments).output().unwrap())
}

/// Restores backups into a new `portcullis-data` with the key of the one before, which is moved aside.
pub(crate) fn restore_anew(dir: &Path, aside: &str, arguments: &[&str]) -> Ran {
    move_aside(dir, aside);
    run(dir, &[&["restore"][..], arguments].concat())
}

/// Moves `portcullis-data` aside, and makes a new one with its key.
pub(crate) fn move_aside(dir: &Path, aside: &str) {
    let (data, aside) = (dir.join("portcullis-data"), dir.join(aside));
    std::fs::rename(&data, &aside).unwrap();
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, aside.metadata().unwrap().permissions()).unwrap();
    std::fs::copy(aside.join("master.key"), data.join("master.key")).unwrap();
}

/// Exit code and output of a command that ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// The lines of standard output as JSON values.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<serde_json::Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

/// `portcullis init`; returns the first platform token, which has a line to itself.
pub(crate) fn init(dir: &Path) -> String {
    let ran = run(dir, &["init"]).exits(0);
    let mut tokens = ran.out.lines().filter(|line| line.starts_with("pc_platform_"));
    let token = tokens.next().expect("no line with a token").to_owned();
    assert_eq!(tokens.next(), None);
    token
}

/// Arguments to serve on a free port.
pub(crate) const SERVE: [&str; 3] = ["serve", "--listen", "127.0.0.1:0"];

/// A serving process. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// `portcullis serve` on a free port, with further arguments.
    pub(crate) fn start(dir: &Path, more: &[&str]) -> Self {
        Self::of(command(dir, &[&SERVE, more].concat()))
    }

    /// The same under these limits of file descriptors, soft and hard.
    pub(crate) fn start_with_descriptors(dir: &Path, soft: u64, hard: u64, more: &[&str]) -> Self {
        let words = format!("ulimit -S -n {soft}; ulimit -H -n {hard}; exec");
        Self::of(command_behind(&words, dir, &[&SERVE, more].concat()))
    }

    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let Some((_, address)) = line.trim().split_once(" listening on http://") else {
            let mut log = String::new();
            child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
            panic!("not serving: {line:?} {log}");
        };
        let address = address.parse().unwrap();
        // The log must be read, or a full pipe would stop the process.
        let mut log = child.stderr.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, address }
    }

    /// Sends a signal by its name, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Sends SIGKILL and waits for the end.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Why ignored: it may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal, such as `HUP`, to a process.
pub(crate) fn signal(child: &Child, name: &str) {
    let line = format!("kill -s {name} {}", child.id());
    let sent = Command::new("/bin/sh").args(["-c", &line]).status().unwrap();
    assert!(sent.success(), "{line}");
}
