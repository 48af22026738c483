//! `portcullis key`: new master keys, what they wrap, and a rotation without a server. No command but `new` shows a key.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use portcullis_engine::master_keys::{self, KeyState, KeyView, OfflineStep};
use portcullis_store::{
    KeyCheckRecord, KeyId, KeyRingRecord, KeyRotation, MasterKey, MasterKeys, Records, Vault,
};
use serde_json::json;
use zeroize::Zeroizing;

use super::{block_on, load, told};
use crate::config::{Config, ConfigArgs, DataDirArgs, KeyArgs};
use crate::data_dir::Refusal;
use crate::{output, private_file, storage};

/// Arguments of `key`.
#[derive(Debug, Args)]
pub(super) struct KeyCommandArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a master key and print its line, or append it to a key file
    ///
    /// The new key wraps nothing until it is promoted. Add it behind the others on every node, send each SIGHUP, and then
    /// promote it: POST /admin/key/rotate, or `portcullis key rotate` on a stopped server.
    #[command(after_help = "Examples:
  portcullis key new --append /etc/portcullis/master.key
  portcullis key new | ssh node2 'cat >> /etc/portcullis/master.key'")]
    New(NewArgs),
    /// Promote a master key and wrap with it what others wrap, on a stopped server
    ///
    /// It promotes the only key of the ring that was never the current one; with --to any other. If it is cut off, run it
    /// again: it goes on where it was. Run again after its end, it changes nothing. A running server does the same by POST
    /// /admin/key/rotate, while calls go on.
    #[command(after_help = "Example:
  systemctl stop portcullis
  portcullis key new --append /var/lib/portcullis/master.key
  portcullis key rotate --data-dir /var/lib/portcullis
  portcullis key show --data-dir /var/lib/portcullis
  systemctl start portcullis
Once the old key wraps 0 keys, its line can be taken out of the file. Keep it as long as there are backups from before.")]
    Rotate(RotateArgs),
    /// List the master keys by their ids, and how many keys each wraps, on a stopped server
    ///
    /// A running server answers the same, with the keys of each node: GET /admin/key.
    Show(ShowArgs),
}

#[derive(Debug, Args)]
struct NewArgs {
    /// File to append the key to instead of printing it; made with mode 0600 if there is none
    #[arg(long, value_name = "FILE")]
    append: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RotateArgs {
    #[command(flatten)]
    data: DataDirArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// Id of the key to promote [default: the only one that was never the current one]
    #[arg(long, value_name = "KEY_ID")]
    to: Option<String>,
}

#[derive(Debug, Args)]
struct ShowArgs {
    #[command(flatten)]
    data: DataDirArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// One JSON object per key
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub(super) fn run(args: &KeyCommandArgs) -> u8 {
    told(match &args.command {
        KeyCommand::New(args) => new(args).map_err(Refusal::failed),
        KeyCommand::Rotate(args) => on_data("key rotate", &args.data, &args.key, async |opened| {
            rotate(opened, args.to.as_deref()).await
        }),
        KeyCommand::Show(args) => {
            on_data("key show", &args.data, &args.key, async |opened| show(opened, args.json).await)
        }
    })
}

fn new(args: &NewArgs) -> Result<String, String> {
    let key = MasterKey::generate().map_err(|e| e.to_string())?;
    let Some(path) = &args.append else {
        output::note(&format!("key id {}", key.id()));
        return Ok(key.to_text().to_string());
    };
    append(path, &key)?;
    Ok(format!("added key {} to {}; send SIGHUP to a running server", key.id(), path.display()))
}

/// Appends a key to a ring. The file is replaced as a whole, so that no reader ever sees half a line.
fn append(path: &Path, key: &MasterKey) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let line = Zeroizing::new(format!("{}\n", key.to_text().as_str()));
    let before = match std::fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return private_file::write(path, line.as_bytes());
        }
        Err(e) => return Err(failed(e)),
    };
    MasterKeys::from_text(&before)
        .map_err(|e| format!("{} is no key file ({e}); nothing was added", path.display()))?;
    let end = if before.ends_with('\n') { "" } else { "\n" };
    let text = Zeroizing::new(format!("{}{end}{}", *before, *line));
    // Why read again: what is written must be a ring, such as one that is not too long.
    MasterKeys::from_text(&text).map_err(|e| format!("{}: {e}; nothing was added", path.display()))?;
    private_file::replace(path, text.as_bytes())
}

/// What a command works on.
struct Opened {
    records: Records,
    vault: Vault,
}

/// Runs a command on a stopped server's data.
fn on_data(
    name: &str,
    data: &DataDirArgs,
    key: &KeyArgs,
    work: impl AsyncFnOnce(Opened) -> Result<String, String>,
) -> Result<String, Refusal> {
    let mut all = ConfigArgs::from(data);
    all.key = key.clone();
    let config = load(&all)?;
    let _held = storage::hold(&config, name)?;
    let done = block_on(async {
        // Why alone with a database as well: its nodes may not have the key that is promoted.
        let _alone = match config.store.postgres() {
            Some(options) => Some(storage::alone(options).await?),
            None => None,
        };
        work(open(&config).await?).await.map_err(Refusal::failed)
    });
    done.map_err(Refusal::failed)?
}

async fn open(config: &Config) -> Result<Opened, Refusal> {
    let failed = Refusal::failed;
    let keys = config.open_keys().await.map_err(failed)?;
    let records = storage::open_records(config, &keys).await?;
    let vault = Vault::open(records.clone(), keys).await.map_err(|e| failed(e.to_string()))?;
    Ok(Opened { records, vault })
}

async fn rotate(opened: Opened, to: Option<&str>) -> Result<String, String> {
    let Opened { records, vault } = opened;
    let (id, left) = match next_step(&records, &vault, to).await? {
        Step::Promote(id) => {
            output::note(&format!("promoting master key {id}"));
            (id, Vec::new())
        }
        Step::GoOn { current, new } => {
            output::note(&format!("going on with the rotation to master key {current}, which was cut off"));
            (current, new)
        }
        Step::Nothing(id) => {
            return Ok(format!(
                "master key {id} is the current one, and everything is wrapped with it: nothing is to be done. For another \
                 rotation add a new key (portcullis key new --append FILE); an earlier one is promoted by --to KEY_ID alone"
            ));
        }
    };
    let mut last = 0;
    let told = |step: OfflineStep| {
        // Why not each step: there may be thousands.
        if step.rewrapped >= last + 1000 {
            last = step.rewrapped;
            output::note(&format!("{} keys wrapped anew, {} to go", step.rewrapped, step.remaining));
        }
    };
    let done = master_keys::rotate_offline(&records, &vault, &id, told).await.map_err(|e| e.to_string())?;
    let more = if left.is_empty() {
        String::new()
    } else {
        format!(". Not promoted yet: {}; run the command again for that", names(&left))
    };
    Ok(format!(
        "master key {id} is the current one; {} keys wrapped anew; the others wrap nothing any more{more}",
        done.rewrapped
    ))
}

/// What `key rotate` has to do.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Promote a key, and wrap anew what others wrap.
    Promote(KeyId),
    /// A rotation was cut off after its promotion: wrap the rest with the current key. `new` keys are for another run.
    GoOn { current: KeyId, new: Vec<KeyId> },
    /// A rotation to this key has ended, and there is no new key.
    Nothing(KeyId),
}

/// Decides it. Without `to` no key is promoted that was the current one before: whoever runs the command once more, because
/// it was cut off or to be sure, must not get back the key that was rotated away.
async fn next_step(records: &Records, vault: &Vault, to: Option<&str>) -> Result<Step, String> {
    let held = vault.key_ids();
    if let Some(to) = to {
        let id = KeyId::parse(to).map_err(|_| format!("--to {to:?} is no key id: 16 hexadecimal digits"))?;
        if !held.contains(&id) {
            return Err(format!(
                "master key {id} is not in the key ring, which has {}; add its line first",
                names(&held)
            ));
        }
        return Ok(Step::Promote(id));
    }
    let current = vault.current_key().await.map_err(|e| e.to_string())?;
    let others: Vec<KeyId> = held.iter().filter(|id| **id != current).cloned().collect();
    let mut new = Vec::new();
    for id in &others {
        // Why by its check: it is written with the promotion, and by `init` for the first key.
        let check = records.get::<KeyCheckRecord>(&[id.as_str()]).await.map_err(|e| e.to_string())?;
        if check.is_none() {
            new.push(id.clone());
        }
    }
    let ring = records.get::<KeyRingRecord>(&KeyRingRecord::PARTS).await.map_err(|e| e.to_string())?;
    let was_promoted = ring.is_some_and(|(ring, _)| ring.promoted_ms.is_some());
    if was_promoted && is_cut_off(records, vault, &current).await? {
        return Ok(Step::GoOn { current, new });
    }
    match new.as_slice() {
        [id] => Ok(Step::Promote(id.clone())),
        [] if was_promoted || !others.is_empty() => Ok(Step::Nothing(current)),
        [] => Err(format!(
            "the key ring has the current key {current} alone; add another: portcullis key new --append FILE"
        )),
        _ => Err(format!(
            "the key ring has {}, of which {current} is the current one; say which to promote: --to KEY_ID",
            names(&held)
        )),
    }
}

fn names(ids: &[KeyId]) -> String {
    ids.iter().map(KeyId::as_str).collect::<Vec<_>>().join(", ")
}

/// Whether the rotation to the current key has not come to its end.
async fn is_cut_off(records: &Records, vault: &Vault, current: &KeyId) -> Result<bool, String> {
    let rotation = records.get::<KeyRotation>(&KeyRotation::PARTS).await.map_err(|e| e.to_string())?;
    let is_open =
        |rotation: &KeyRotation| rotation.key_id == current.as_str() && rotation.finished_ms.is_none();
    if rotation.is_some_and(|(rotation, _)| is_open(&rotation)) {
        return Ok(true);
    }
    let wrapped = vault.wrapped_by().await.map_err(|e| e.to_string())?;
    Ok(wrapped.keys().any(|id| id != current.as_str()))
}

async fn show(opened: Opened, as_json: bool) -> Result<String, String> {
    let keys = master_keys::keys_of(&opened.vault).await.map_err(|e| e.to_string())?;
    let lines: Vec<String> = keys.iter().map(|key| if as_json { object(key) } else { line(key) }).collect();
    Ok(lines.join("\n"))
}

fn state(key: &KeyView) -> &'static str {
    match key.state {
        KeyState::Current => "current",
        KeyState::DecryptOnly => "decrypt_only",
        KeyState::Missing => "missing",
    }
}

fn object(key: &KeyView) -> String {
    let KeyView { key_id, name, wrapped, .. } = key;
    json!({ "key_id": key_id, "name": name, "state": state(key), "wrapped": wrapped }).to_string()
}

fn line(key: &KeyView) -> String {
    let name = key.name.as_deref().map_or_else(String::new, |name| format!("  {name}"));
    let hint = match (key.state, key.wrapped) {
        (KeyState::DecryptOnly, 0) => "  (can be taken out)",
        _ => "",
    };
    format!("{}  {:<12}  {:>8} wrapped{name}{hint}", key.key_id, state(key), key.wrapped)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;

    use portcullis_core::id::{OrgId, WorkspaceId};
    use portcullis_store::{MasterKeyRing, MemoryStore, Writes};

    use super::*;

    /// A ring in the order of these keys.
    fn ring(keys: &[&MasterKey]) -> MasterKeyRing {
        let lines: Vec<String> = keys.iter().map(|key| key.to_text().to_string()).collect();
        MasterKeys::from_text(&lines.join("\n")).unwrap().into()
    }

    /// A store that was initialised with a key, and has keys of some workspaces.
    async fn initialised(with: &MasterKey) -> Records {
        let records = Records::new(Arc::new(MemoryStore::new()));
        Vault::initialise(records.clone(), ring(&[with])).await.unwrap();
        let vault = Vault::open(records.clone(), ring(&[with])).await.unwrap();
        for n in 0..3 {
            let workspace = WorkspaceId::parse(&format!("w{n}")).unwrap();
            vault.ensure_workspace_key(&OrgId::parse("acme").unwrap(), &workspace).await.unwrap();
        }
        records
    }

    async fn open(records: &Records, keys: &[&MasterKey]) -> Vault {
        Vault::open(records.clone(), ring(keys)).await.unwrap()
    }

    async fn step(records: &Records, keys: &[&MasterKey], to: Option<&str>) -> Result<Step, String> {
        next_step(records, &open(records, keys).await, to).await
    }

    /// Runs `key rotate`, and says which key is the current one then.
    async fn rotated(records: &Records, keys: &[&MasterKey], to: Option<&str>) -> KeyId {
        let opened = Opened { records: records.clone(), vault: open(records, keys).await };
        rotate(opened, to).await.unwrap();
        let vault = open(records, keys).await;
        let current = vault.current_key().await.unwrap();
        let wrapped = vault.wrapped_by().await.unwrap();
        assert_eq!(wrapped.keys().collect::<Vec<_>>(), [current.as_str()]);
        current
    }

    /// What a `key rotate` leaves that is killed after the commit of its promotion.
    async fn cut_off(records: &Records, keys: &[&MasterKey], to: &MasterKey) {
        let writes = open(records, keys).await.promotion(&to.id(), 1).await.unwrap().unwrap();
        let writes = writes.put(&KeyRotation::PARTS, &KeyRotation::begun(to.id().as_str(), 1));
        records.commit(writes).await.unwrap();
    }

    #[tokio::test]
    async fn a_rotation_that_is_run_again_never_brings_the_old_key_back() {
        let [old, new, third] = [(); 3].map(|()| MasterKey::generate().unwrap());
        let records = initialised(&old).await;
        let refused = step(&records, &[&old], None).await.unwrap_err();
        assert!(refused.contains("portcullis key new --append"), "{refused}");
        let both = [&old, &new];
        assert_eq!(rotated(&records, &both, None).await, new.id());
        // Again, whatever the order of the lines, and with the old line taken out.
        for keys in [&both[..], &[&new, &old], &[&new]] {
            assert_eq!(step(&records, keys, None).await.unwrap(), Step::Nothing(new.id()));
            assert_eq!(rotated(&records, keys, None).await, new.id());
        }
        // The neighbours: a new key is promoted, beside the old line or without it; the old one if it is named.
        for keys in [&[&old, &new, &third][..], &[&new, &third]] {
            assert_eq!(step(&records, keys, None).await.unwrap(), Step::Promote(third.id()));
        }
        assert_eq!(rotated(&records, &both, Some(old.id().as_str())).await, old.id());
        assert_eq!(step(&records, &both, None).await.unwrap(), Step::Nothing(old.id()));
        let unknown = step(&records, &both, Some(third.id().as_str())).await.unwrap_err();
        assert!(unknown.contains("is not in the key ring"), "{unknown}");
    }

    #[tokio::test]
    async fn a_rotation_that_was_cut_off_goes_on_to_the_same_key() {
        let [old, new, third] = [(); 3].map(|()| MasterKey::generate().unwrap());
        let (records, both) = (initialised(&old).await, [&old, &new]);
        cut_off(&records, &both, &new).await;
        let go_on = |left: &[&MasterKey]| Step::GoOn {
            current: new.id(),
            new: left.iter().map(|key| key.id()).collect(),
        };
        assert_eq!(step(&records, &both, None).await.unwrap(), go_on(&[]));
        assert_eq!(step(&records, &[&old, &new, &third], None).await.unwrap(), go_on(&[&third]));
        assert_eq!(rotated(&records, &both, None).await, new.id());
        assert_eq!(step(&records, &both, None).await.unwrap(), Step::Nothing(new.id()));
        // Cut off when everything was wrapped anew and the end was not noted: the old line may be out by then.
        let unnoted = Writes::new().put(&KeyRotation::PARTS, &KeyRotation::begun(new.id().as_str(), 1));
        records.commit(unnoted).await.unwrap();
        assert_eq!(step(&records, &[&new], None).await.unwrap(), go_on(&[]));
        assert_eq!(rotated(&records, &[&new], None).await, new.id());
        let (rotation, _) = records.get::<KeyRotation>(&KeyRotation::PARTS).await.unwrap().unwrap();
        assert!(rotation.finished_ms.is_some());
    }

    #[tokio::test]
    async fn of_several_new_keys_one_has_to_be_named() {
        let [old, new, third] = [(); 3].map(|()| MasterKey::generate().unwrap());
        let (records, all) = (initialised(&old).await, [&old, &new, &third]);
        let refused = step(&records, &all, None).await.unwrap_err();
        assert!(refused.contains("--to KEY_ID"), "{refused}");
        assert_eq!(step(&records, &all, Some(third.id().as_str())).await.unwrap(), Step::Promote(third.id()));
    }

    #[test]
    fn a_key_is_appended_to_a_ring_and_to_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let keys: Vec<MasterKey> = (0..3).map(|_| MasterKey::generate().unwrap()).collect();
        append(&path, &keys[0]).unwrap();
        // A file without an end of its last line, as an editor may leave it.
        std::fs::write(&path, keys[0].to_text().as_str()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        append(&path, &keys[1]).unwrap();
        append(&path, &keys[2]).unwrap();
        let ring =
            MasterKeyRing::from(MasterKeys::from_text(&std::fs::read_to_string(&path).unwrap()).unwrap());
        assert_eq!(ring.key_ids(), keys.iter().map(MasterKey::id).collect::<Vec<_>>());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let refused = append(&path, &keys[1]).unwrap_err();
        assert!(refused.contains("twice") && refused.contains("nothing was added"), "{refused}");
        let other = dir.path().join("notes.txt");
        std::fs::write(&other, "hello\n").unwrap();
        assert!(append(&other, &keys[0]).unwrap_err().contains("is no key file"));
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "hello\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside them");
    }
}
