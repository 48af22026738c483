//! A PostgreSQL of the tests' own: made with initdb in a temporary directory, on a Unix socket, with fsync on.
//!
//! A small shell script stands between, which waits for the end of its input. So the server ends with the test process
//! however that ends, and its directory goes with it. PostgreSQL refuses to run as root, so root becomes `postgres`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// With this set, a machine without PostgreSQL fails the tests that need it.
const REQUIRED: &str = "PORTCULLIS_REQUIRE_POSTGRES";

/// How long the server may take to start or to stop, also on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// The role that tests connect as, unless they make others: the owner of everything.
pub const SUPERUSER: &str = "postgres";

/// Its password, which connections over TCP need; those over the socket need none.
pub const PASSWORD: &str = "of the tests alone";

/// A running server.
pub struct Cluster {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
    settings: Vec<String>,
    running: Mutex<Option<Running>>,
    databases: AtomicU32,
}

/// The script, and what keeps it waiting.
struct Running {
    script: Child,
    input: ChildStdin,
    server: Pid,
}

/// Ends the server with its input: `INT` is PostgreSQL's fast shutdown. The word `keep` leaves the directory.
const SCRIPT: &str = r#"
bin=$1; dir=$2; shift 2
"$bin/postgres" -D "$dir/data" "$@" >>"$dir/log" 2>&1 </dev/null &
server=$!
echo $server
line=
read -r line
[ "$line" = keep ] || kill -INT $server 2>/dev/null
wait $server
[ "$line" = keep ] || rm -rf "$dir"
"#;

impl Cluster {
    /// The server that all tests of this process share; `None`, and loudly so, on a machine without PostgreSQL.
    ///
    /// # Panics
    /// If the server does not start, or is missing where `PORTCULLIS_REQUIRE_POSTGRES` says that it must be there.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[])).as_ref()
    }

    /// A server of one test, which may be killed; with settings such as `max_connections=200`.
    ///
    /// # Panics
    /// As for [`Self::shared`].
    #[must_use]
    pub fn start(settings: &[&str]) -> Option<Self> {
        let cluster = Self::make(settings)?;
        cluster.run();
        Some(cluster)
    }

    /// A server that also listens on loopback, with TLS: its certificate and key, PEM.
    ///
    /// # Panics
    /// As for [`Self::shared`].
    #[must_use]
    pub fn start_with_tls(certificate: &str, key: &str) -> Option<Self> {
        let mut cluster = Self::make(&["ssl=on", "listen_addresses=127.0.0.1", "ssl_key_file=server.key"])?;
        // Why let go: only the server itself can take it, and nobody else asks for one like it meanwhile.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        cluster.port = free.local_addr().unwrap().port();
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = cluster.dir.join("data").join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            if rustix::process::geteuid().is_root() {
                succeed(Command::new("chown").arg(SUPERUSER).arg(&path));
            }
        }
        drop(free);
        cluster.run();
        Some(cluster)
    }

    /// The port, of the socket's name and of TCP if it listens there.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn make(settings: &[&str]) -> Option<Self> {
        let bin = bin()?;
        let dir = tempfile::Builder::new().prefix("portcullis-pg-").tempdir_in("/tmp").unwrap().keep();
        if rustix::process::geteuid().is_root() {
            succeed(Command::new("chown").arg(SUPERUSER).arg(&dir));
        }
        let mut initdb = as_postgres(&bin.join("initdb"));
        let password = dir.join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        initdb.args(["--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C"]);
        initdb.arg("--pwfile").arg(password).args(["-U", SUPERUSER, "-D"]);
        succeed(initdb.arg(dir.join("data")));
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        Some(Self { bin, dir, port: 5432, settings, running: Mutex::default(), databases: AtomicU32::new(0) })
    }

    /// The address of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name, SUPERUSER)
    }

    /// The address of a database for a role, which must exist.
    pub fn url(&self, database: &str, role: &str) -> String {
        format!("postgres:///{database}?host={}&user={role}", self.dir.display())
    }

    /// Runs SQL as the owner of everything, as an administrator would, and returns what it prints.
    ///
    /// # Panics
    /// If it fails.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            SUPERUSER,
            "-d",
            database,
            "-c",
            sql,
        ]);
        succeed(psql.arg("-h").arg(&self.dir).args(["-p", &self.port.to_string()]))
    }

    /// The server's directory, in which the socket and `data` are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends the server and all of its processes with SIGKILL, as a crash of the machine would.
    pub fn kill(&self) {
        let Some(mut running) = self.running.lock().unwrap().take() else { return };
        running.input.write_all(b"keep\n").unwrap();
        let children = children(running.server);
        for process in std::iter::once(running.server).chain(children.iter().copied()) {
            // Why ignored: it may have ended by itself.
            let _ = kill_process(process, Signal::KILL);
        }
        running.script.wait().unwrap();
        let gone = |pid: &Pid| !Path::new(&format!("/proc/{}", pid.as_raw_nonzero())).exists();
        within(|| children.iter().all(gone), "the killed server's processes end");
    }

    /// Starts it again after [`Self::kill`].
    pub fn run(&self) {
        let mut command = as_postgres(Path::new("sh"));
        command.args(["-c", SCRIPT, "sh"]).arg(&self.bin).arg(&self.dir).arg("-k").arg(&self.dir);
        let port = self.port.to_string();
        command.args(["-c", "listen_addresses=", "-p", &port, "-c", "fsync=on", "-c", "max_connections=200"]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let mut script = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut server = String::new();
        BufReader::new(script.stdout.take().unwrap()).read_line(&mut server).unwrap();
        let server = Pid::from_raw(server.trim().parse().unwrap()).unwrap();
        let input = script.stdin.take().unwrap();
        *self.running.lock().unwrap() = Some(Running { script, input, server });
        let ready = || {
            let mut check = Command::new(self.bin.join("psql"));
            check
                .args(["-X", "-U", SUPERUSER, "-d", "postgres", "-c", "SELECT 1", "-p", &port, "-h"])
                .arg(&self.dir);
            check.output().unwrap().status.success()
        };
        within(ready, &format!("the server starts; see {}/log", self.dir.display()));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        match self.running.get_mut().map(Option::take) {
            Ok(Some(Running { mut script, input, .. })) => {
                drop(input);
                let _ = script.wait();
            }
            _ => drop(std::fs::remove_dir_all(&self.dir)),
        }
    }
}

fn within(mut condition: impl FnMut() -> bool, what: &str) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn succeed(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// A command that runs as somebody whom PostgreSQL accepts.
fn as_postgres(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", SUPERUSER, "--regid", SUPERUSER, "--init-groups", "--"]).arg(program);
    command.current_dir("/tmp");
    command
}

/// The newest PostgreSQL of the machine.
fn bin() -> Option<PathBuf> {
    let version = |dir: &PathBuf| -> u32 {
        let name = dir.parent().and_then(Path::file_name).unwrap_or_default();
        name.to_str().and_then(|name| name.parse().ok()).unwrap_or(0)
    };
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let found = installed.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let newest = found.filter(|dir| dir.join("initdb").exists()).max_by_key(version);
    if newest.is_none() {
        #[allow(clippy::disallowed_methods, reason = "a switch of the tests, not of the product")]
        let required = std::env::var_os(REQUIRED).is_some();
        assert!(!required, "{REQUIRED} is set, and there is no PostgreSQL below /usr/lib/postgresql");
        eprintln!("NOT RUN: no PostgreSQL below /usr/lib/postgresql; {REQUIRED}=1 makes this a failure");
    }
    newest
}

/// The processes whose parent is this one.
fn children(parent: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let mut stat = String::new();
        let opened = std::fs::File::open(entry.path().join("stat"));
        if opened.and_then(|mut file| file.read_to_string(&mut stat)).is_err() {
            continue;
        }
        // After the name, which may hold anything, come the state and the parent.
        let after = stat.rsplit_once(')').map(|(_, after)| after).unwrap_or_default();
        let its_parent = after.split_whitespace().nth(1).and_then(|text| text.parse().ok());
        if its_parent.and_then(Pid::from_raw) == Some(parent) {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            found.extend(pid.and_then(Pid::from_raw));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_apart_and_what_was_committed_outlives_a_kill() {
        let Some(cluster) = Cluster::start(&[]) else { return };
        let (one, two) = (cluster.database(), cluster.database());
        assert_ne!(one, two);
        cluster.sql("test_0", "CREATE TABLE t (n integer); INSERT INTO t VALUES (1)");
        cluster.kill();
        cluster.run();
        assert_eq!(cluster.sql("test_0", "SELECT n FROM t"), "1");
        assert_eq!(cluster.sql("test_1", "SELECT to_regclass('t') IS NULL"), "t");
        let dir = cluster.dir().to_owned();
        drop(cluster);
        assert!(!dir.exists(), "its directory went with it");
    }
}
