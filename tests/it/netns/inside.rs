//! A process inside a namespace with line-based input and output and a deadline on every wait. Ended
//! when dropped.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

/// No wait of these tests is longer than this; each limit of the product is far below it.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A running process.
pub(super) struct Inside {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Inside {
    /// Starts a command.
    pub(super) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            // Why a failed send ends it: the receiver is gone.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, stdin, lines }
    }

    /// Sends it a signal, such as `-STOP`.
    pub(super) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "{signal}");
    }

    /// Sends SIGKILL and waits for the end.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }

    /// Writes one line.
    pub(super) fn say(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// The next line; `None` from a process that ended or did not answer.
    pub(super) fn try_line(&self) -> Option<String> {
        self.lines.recv_timeout(WAIT_MAX).ok()
    }

    /// The next line, which must arrive and be JSON.
    pub(super) fn json(&self) -> Value {
        let line = self.try_line().expect("the process ended or kept silent");
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // Why ignored: it may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
