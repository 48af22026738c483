//! The mock server made from a description: a separate Prism process, on a free port, until dropped.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Bytes;

use crate::Failure;
use crate::front;

/// Longest wait for the first answer. It takes about two seconds on an idle machine.
const START_S_MAX: u64 = 120;
/// What its standard error is searched for; see `hook.js`.
const UNCHECKED: &str = "UNCHECKED ";
const HOOK: &str = include_str!("hook.js");

/// The running process. Killed when dropped.
pub(crate) struct Mock {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Mock {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// If there is no Prism, or it ends, or does not answer in time.
    pub(crate) async fn start(prism: &Path, description: &Path) -> Result<Self, Failure> {
        let program = prism.join("node_modules/.bin/prism");
        if !program.is_file() {
            let program = program.display();
            return Err(format!("there is no {program}; npm install @stoplight/prism-cli there").into());
        }
        let hook = tempfile::Builder::new().suffix(".js").tempfile()?;
        std::fs::write(hook.path(), HOOK)?;
        // Why like this: it cannot choose a port itself and report it.
        let address = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let mut child = Command::new("node")
            .arg("-r")
            .arg(hook.path())
            .arg(&program)
            .args(["mock", "-h", "127.0.0.1", "-p", &address.port().to_string()])
            .arg(std::fs::canonicalize(description)?)
            .current_dir(prism)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("node cannot be started: {e}"))?;
        let log = Arc::default();
        if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
            keep(out, Arc::clone(&log));
            keep(err, Arc::clone(&log));
        }
        let mut mock = Self { child, address, log };
        mock.until_it_answers().await?;
        Ok(mock)
    }

    async fn until_it_answers(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + Duration::from_secs(START_S_MAX);
        loop {
            let request = http::Request::get("/").header("host", "127.0.0.1").body(Bytes::new())?;
            if front::forward(self.address, request).await.is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the mock server ended ({status}): {}", self.lines().join("\n")).into());
            }
            if Instant::now() > deadline {
                let said = self.lines().join("\n");
                return Err(format!("the mock server did not answer in {START_S_MAX} s: {said}").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn lines(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Schemas that it could not compile, and therefore did not check.
    pub(crate) fn unchecked(&self) -> Vec<String> {
        let mut found: Vec<String> =
            self.lines().iter().filter_map(|line| line.strip_prefix(UNCHECKED)).map(str::to_owned).collect();
        found.sort();
        found.dedup();
        found
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        // Why ignored: it may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads its output in a separate thread: a full pipe would stop the process.
fn keep(from: impl Read + Send + 'static, log: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
}
