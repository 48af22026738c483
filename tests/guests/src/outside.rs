//! What a module of the profile `std` finds of the system around it, through the standard library alone.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{Read as _, Write as _};
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};

/// Everything that there could be.
#[allow(clippy::disallowed_methods, reason = "a guest that looks for the environment is one of the cases")]
pub(crate) fn found() -> Value {
    let mut input = String::new();
    let read = std::io::stdin().read_to_string(&mut input).unwrap_or_default();
    json!({
        "variables": std::env::vars().count(),
        "arguments": std::env::args().count(),
        "input_bytes": read,
        "files": files(),
        "clock_steps_ms": steps_ms(),
        "is_random": is_random(),
        "year": year(),
    })
}

/// What can be opened, listed or written.
fn files() -> Vec<&'static str> {
    let read = ["/etc/passwd", "/proc/self/environ", "/dev/urandom", "../../etc/passwd", "."];
    let mut found: Vec<&str> = read.into_iter().filter(|path| std::fs::File::open(path).is_ok()).collect();
    found.extend(["/", ".", "/tmp"].into_iter().filter(|path| std::fs::read_dir(path).is_ok()));
    found.extend(["/tmp/guest", "guest"].into_iter().filter(|path| std::fs::write(path, "x").is_ok()));
    found
}

/// How far the clock goes at once.
fn steps_ms() -> Vec<u128> {
    let start = Instant::now();
    let mut steps = Vec::new();
    let mut last = start.elapsed();
    while steps.len() < 3 {
        let now = start.elapsed();
        if now != last {
            steps.push((now - last).as_millis());
            last = now;
        }
    }
    steps
}

/// Whether two hash maps have different keys.
fn is_random() -> bool {
    let (one, other): (HashMap<u8, u8>, RandomState) = (HashMap::new(), RandomState::new());
    one.hasher().hash_one(1) != other.hash_one(1)
}

fn year() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    1970 + now.as_secs() / 31_556_952
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "what it is for")]
pub(crate) fn print(text: &str) {
    print!("{text}");
    // Why ignored: a stream that takes nothing is one of the cases.
    let _ = std::io::stdout().flush();
    eprint!("{text}");
}

/// Whether a connection of its own can be made.
#[allow(clippy::disallowed_methods, reason = "a guest that wants out by another way is one of the cases")]
pub(crate) fn connects(to: &str) -> bool {
    std::net::TcpStream::connect(to).is_ok()
}
