//! Simulated power cuts.
//!
//! What is simulated: the data directory is an ext4 file system of its own on a loop device. Under load it is shut
//! down at a random moment (`EXT4_IOC_SHUTDOWN` without flushing its log, as file system tests do): from then on
//! nothing reaches the device, and what was not written to it is lost, metadata included, also in the middle of a
//! sync. Then the process is killed, the file system is mounted again, which replays its journal, and the product
//! starts on what is left. What is not simulated: a device that loses or reorders what it said it had written.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::kills::{Acknowledged, Load, missing, print_line};
use super::product::{Product, Random, count, is_root, prepare};
use crate::support::binary;

/// `_IOR('X', 125, __u32)` with the flag for "do not flush the log".
const SHUT_DOWN: &str = "import fcntl, os, struct, sys\n\
    fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";

/// When runs and ledger records in groups are on disk: 100 ms where a sync takes less than half of that, and more on a
/// loop device of a machine that runs other tests.
const ON_DISK: Duration = Duration::from_millis(300);

/// A directory on a file system of its own. Unmounted when dropped.
struct Disk {
    image: PathBuf,
    mounted: PathBuf,
}

impl Disk {
    /// `None` if this machine has no loop devices, or does not let go of one; it must have where cuts are asked for.
    fn make(dir: &Path) -> Option<Self> {
        let disk = Self { image: dir.join("disk.img"), mounted: dir.join("disk") };
        std::fs::create_dir(&disk.mounted).unwrap();
        let image = std::fs::File::create(&disk.image).unwrap();
        image.set_len(256 << 20).unwrap();
        run("mkfs.ext4", &["-q", "-F", disk.image.to_str().unwrap()]);
        if disk.mounting().output().unwrap().status.success() {
            return Some(disk);
        }
        assert!(std::env::var("PORTCULLIS_POWER_CUTS").is_err(), "there is no loop device for power cuts");
        print_line("power cuts", &json!("not run: there is no loop device"));
        None
    }

    fn mounting(&self) -> Command {
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).arg(&self.image).arg(&self.mounted);
        mount
    }

    fn mount(&self) {
        let mounted = self.mounting().output().unwrap();
        assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
    }

    fn unmount(&self) {
        run("umount", &[self.mounted.to_str().unwrap()]);
    }

    fn shut_down(&self) {
        run("python3", &["-c", SHUT_DOWN, self.mounted.to_str().unwrap()]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Why ignored: it may not be mounted.
        drop(Command::new("umount").arg(&self.mounted).output());
    }
}

fn run(program: &str, arguments: &[&str]) {
    let ran = Command::new(program).args(arguments).output().unwrap();
    assert!(ran.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost_or_torn_by_a_power_cut() {
    if !is_root("power cuts", &["mkfs.ext4", "mount", "python3"]) {
        return;
    }
    let cuts = count("PORTCULLIS_POWER_CUTS", 3);
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::make(dir.path()) else { return };
    let root = disk.mounted.clone();
    let platform = binary::init(&root);
    let product = Product::start(&root, &[]);
    let tokens = prepare(&product, &platform).await;
    product.stop();
    run("sync", &[]);
    let mut random = Random(0x706f_7765);
    let (mut answered, mut lost) = (Acknowledged::default(), Vec::<String>::new());
    let mut cut_at = Instant::now();
    let (mut runs, mut orgs) = (0, 0);
    for round in 0..=cuts {
        // With every other start each ledger record is on disk before its call goes on.
        let strict = round % 2 == 0;
        let more: &[&str] = if strict { &["--ledger-sync", "strict"] } else { &[] };
        let product = Product::start(&root, more);
        let promised = cut_at.checked_sub(ON_DISK).unwrap();
        lost.extend(missing(&product, &tokens, &answered, promised).await);
        let counted = |kept: &[(String, Instant)]| kept.iter().filter(|(_, at)| *at <= promised).count();
        runs += answered.runs.iter().map(|kept| counted(kept)).sum::<usize>();
        orgs += answered.orgs.len();
        if round == cuts {
            product.stop();
            break;
        }
        let load = Load::start(product.address, &tokens, round);
        tokio::time::sleep(Duration::from_millis(500 + random.below(500) as u64)).await;
        // Before the cut: what is answered after it may have been lost.
        cut_at = Instant::now();
        disk.shut_down();
        product.kill();
        answered = load.end().await;
        disk.unmount();
        disk.mount();
    }
    let line =
        json!({ "cuts": cuts, "runs": runs, "ledger": runs, "records": orgs, "lost_or_torn": lost.len() });
    print_line("power cuts", &line);
    assert!(lost.is_empty(), "{lost:#?}");
    assert!(runs > cuts && orgs > cuts, "the load did something: {line}");
}
