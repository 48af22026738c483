//! Two network namespaces joined by one cable: `product`, where the binary runs, and `outside`, which
//! is the only network it can reach. Made by the test, removed when dropped, also on panic.
//!
//! The addresses look public and exist only here: neither namespace has a route out.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The outside's address: the name server and the third party.
pub(super) const OUTSIDE: &str = "93.184.216.34";
/// The same over IPv6.
pub(super) const OUTSIDE_V6: &str = "2606:4700:10::34";
/// The product's own interface, with an address that also looks public.
pub(super) const OWN: &str = "93.184.216.1";
/// The same over IPv6.
pub(super) const OWN_V6: &str = "2606:4700:10::1";

/// The cable, addresses and routes, as arguments of `ip`. `P` and `O` stand for the namespaces.
///
/// Why the local routes: the outside answers on whole blocks, private ones included, so that only
/// the guard keeps the product from a private address.
const PLAN: &[&str] = &[
    "netns add P",
    "netns add O",
    "-n P link add cable type veth peer name cable netns O",
    "-n P link set lo up",
    "-n O link set lo up",
    "-n P addr add 93.184.216.1/24 dev cable",
    "-n O addr add 93.184.216.34/24 dev cable",
    "-n P addr add 2606:4700:10::1/64 dev cable nodad",
    "-n O addr add 2606:4700:10::34/64 dev cable nodad",
    "-n P link set cable up",
    "-n O link set cable up",
    "-n O route add local 93.184.216.32/27 dev lo",
    "-n O route add local 10.0.0.0/8 dev lo",
    "-n O route add local 100.64.0.0/10 dev lo",
    "-n O route add local 169.254.0.0/16 dev lo",
    "-n O -6 route add local fd00::/8 dev lo",
    "-n O -6 route add local 64:ff9b::/96 dev lo",
    "-n P route add 10.0.0.0/8 via 93.184.216.34",
    "-n P route add 100.64.0.0/10 via 93.184.216.34",
    "-n P route add 169.254.0.0/16 via 93.184.216.34",
    "-n P -6 route add fd00::/8 via 2606:4700:10::34",
    "-n P -6 route add 64:ff9b::/96 via 2606:4700:10::34",
    "netns exec P true",
];

/// One of the two namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Where the binary runs.
    Product,
    /// Where the name server and the third party are.
    Outside,
}

/// The two namespaces.
pub(super) struct Namespaces {
    product: String,
    outside: String,
}

impl Namespaces {
    /// Makes them. `None`, and a line on standard error, if this machine does not allow it; a
    /// failure instead if `PORTCULLIS_REQUIRE_NETNS` is `1`.
    pub(super) fn make() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let stem = format!("pc-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // Why before the first command: the remains of a half-made pair are removed as well.
        let pair = Self { product: format!("{stem}-product"), outside: format!("{stem}-outside") };
        let Err(why) = PLAN.iter().try_for_each(|line| pair.ip(line)) else {
            return Some(pair);
        };
        if std::env::var("PORTCULLIS_REQUIRE_NETNS").is_ok_and(|v| v == "1") {
            panic!("network namespaces are required here and cannot be made: {why}");
        }
        // Why not `eprintln!`: the test runner would hide it in a test that passes.
        let line = format!("netns tests not run: {why}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        None
    }

    /// A command inside.
    pub(super) fn command(&self, side: Side, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name(side)]).arg(program);
        command
    }

    /// The output of a short command inside.
    pub(super) fn output(&self, side: Side, program: &str, arguments: &[&str]) -> String {
        let output = self.command(side, program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A counter of the kernel, such as `("Tcp", "InSegs")`: segments that reached that side.
    pub(super) fn counter(&self, side: Side, protocol: &str, name: &str) -> u64 {
        let text = self.output(side, "cat", &["/proc/net/snmp"]);
        let mut rows = text.lines().filter_map(|line| line.strip_prefix(&format!("{protocol}: ")));
        let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
        let at = names.split(' ').position(|n| n == name).unwrap();
        values.split(' ').nth(at).unwrap().parse().unwrap()
    }

    /// Gives the product's side a separate file in `/etc`.
    pub(super) fn write_etc(&self, name: &str, text: &str) {
        let dir = self.etc(Side::Product);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(name), text).unwrap();
    }

    fn name(&self, side: Side) -> &str {
        match side {
            Side::Product => &self.product,
            Side::Outside => &self.outside,
        }
    }

    fn etc(&self, side: Side) -> PathBuf {
        Path::new("/etc/netns").join(self.name(side))
    }

    fn ip(&self, line: &str) -> Result<(), String> {
        let arguments = line.split(' ').map(|word| match word {
            "P" => self.product.as_str(),
            "O" => self.outside.as_str(),
            other => other,
        });
        let output =
            Command::new("ip").args(arguments).output().map_err(|e| format!("`ip` cannot be run: {e}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("`ip {line}`: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // Why ignored: a pair that was never made, or a file never written, cannot be removed.
        for side in [Side::Product, Side::Outside] {
            let _ = std::fs::remove_dir_all(self.etc(side));
            let _ = Command::new("ip").args(["netns", "del", self.name(side)]).output();
        }
        // Why: removed only if it is empty, so the files of others are never touched.
        let _ = std::fs::remove_dir("/etc/netns");
    }
}
