//! The processes of a comparison: started, ready after one line of JSON, watched through `/proc`, and
//! ended when their standard input closes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::{Failure, print};

/// Clock ticks per second in `/proc/PID/stat`; 100 on every common Linux.
const TICKS: u64 = 100;

/// A running child.
pub(crate) struct Process {
    child: Child,
    /// Closing it ends the child.
    stdin: Option<ChildStdin>,
    /// What it reported when it was ready.
    pub(crate) said: Value,
}

impl Process {
    /// Starts this program in another role.
    pub(crate) fn start(role: &str, arguments: &[(&str, &str)]) -> Result<Self, Failure> {
        Self::start_on(None, role, arguments)
    }

    /// The same on these processors only, a list such as `0-1`.
    pub(crate) fn start_on(
        processors: Option<&str>,
        role: &str,
        arguments: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        let program = std::env::current_exe()?;
        let mut command = match processors {
            None => Command::new(program),
            Some(list) => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", list]).arg(program);
                command
            }
        };
        command.arg(role);
        for (name, value) in arguments {
            command.arg(format!("--{name}")).arg(value);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut line = String::new();
        BufReader::new(stdout.ok_or("a child has no output")?).read_line(&mut line)?;
        if line.is_empty() {
            return Err(format!("the {role} ended at once").into());
        }
        Ok(Self { child, stdin, said: serde_json::from_str(&line)? })
    }

    /// A text from its report.
    pub(crate) fn text(&self, name: &str) -> Result<&str, Failure> {
        Ok(self
            .said
            .get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| format!("a child did not say {name}"))?)
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU used so far, user and system.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        // The second field is the program's name in brackets, which may contain anything.
        let (_, rest) = stat.rsplit_once(')').ok_or("/proc/PID/stat has an unknown form")?;
        let mut fields = rest.split_whitespace().skip(11);
        let mut ticks = || fields.next().and_then(|f| f.parse::<u64>().ok()).unwrap_or_default();
        Ok(Duration::from_millis((ticks() + ticks()) * 1000 / TICKS))
    }

    /// A value of `/proc/PID/status` in KiB, such as `VmRSS`.
    pub(crate) fn memory_kib(&self, name: &str) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse().ok());
        Ok(number.ok_or_else(|| format!("/proc/PID/status has no {name}"))?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // Why ignored: if it has ended already, that is the goal.
        let _ = self.child.wait();
    }
}

/// The processors for the product, and those for its load and upstream, so that neither takes from the other.
pub(crate) struct Halves {
    pub(crate) product: String,
    pub(crate) others: String,
}

impl Halves {
    /// For a machine with two processors or more.
    pub(crate) fn of_machine() -> Option<Self> {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        let half = all / 2;
        (half > 0).then(|| Self { product: format!("0-{}", half - 1), others: format!("{half}-{}", all - 1) })
    }

    /// Moves this process to the other half, or back to all.
    pub(crate) fn move_self(&self, apart: bool) -> Result<(), Failure> {
        let all = format!("{},{}", self.product, self.others);
        let list = if apart { &self.others } else { &all };
        let id = std::process::id().to_string();
        let arguments = ["--all-tasks", "--cpu-list", "--pid", list, &id];
        let moved = Command::new("taskset").args(arguments).stdout(Stdio::null()).status()?;
        if moved.success() { Ok(()) } else { Err("taskset could not choose processors".into()) }
    }
}

/// A child's part: reports that it is ready, and waits until its parent releases it.
pub(crate) async fn serve_until_released(said: Value) -> Result<(), Failure> {
    let mut said = said;
    if let Some(map) = said.as_object_mut() {
        map.insert("pid".to_owned(), json!(std::process::id()));
    }
    print(&said.to_string())?;
    let released = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    released.await??;
    Ok(())
}
