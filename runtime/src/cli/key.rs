//! `portcullis key`: new master keys, what they wrap, and a rotation without a server. No command but `new` shows a key.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use portcullis_engine::master_keys::{self, KeyState, KeyView, OfflineStep};
use portcullis_store::{KeyId, MasterKey, MasterKeys, Records, Vault};
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
    /// It promotes the only key of the ring that is not the current one; with --to one of several. If it is cut off, run it
    /// again: it goes on where it was. A running server does the same by POST /admin/key/rotate, while calls go on.
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
    /// Id of the key to promote [default: the only one that is not the current one]
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
    let id = chosen(&vault, to).await?;
    output::note(&format!("promoting master key {id}"));
    let mut last = 0;
    let told = |step: OfflineStep| {
        // Why not each step: there may be thousands.
        if step.rewrapped >= last + 1000 {
            last = step.rewrapped;
            output::note(&format!("{} keys wrapped anew, {} to go", step.rewrapped, step.remaining));
        }
    };
    let done = master_keys::rotate_offline(&records, &vault, &id, told).await.map_err(|e| e.to_string())?;
    Ok(format!(
        "master key {id} is the current one; {} keys wrapped anew; the others wrap nothing any more",
        done.rewrapped
    ))
}

/// The key to promote.
async fn chosen(vault: &Vault, to: Option<&str>) -> Result<KeyId, String> {
    let held = vault.key_ids();
    let names = || held.iter().map(KeyId::as_str).collect::<Vec<_>>().join(", ");
    if let Some(to) = to {
        let id = KeyId::parse(to).map_err(|_| format!("--to {to:?} is no key id: 16 hexadecimal digits"))?;
        if !held.contains(&id) {
            return Err(format!(
                "master key {id} is not in the key ring, which has {}; add its line first",
                names()
            ));
        }
        return Ok(id);
    }
    let current = vault.current_key().await.map_err(|e| e.to_string())?;
    let mut others = held.iter().filter(|id| **id != current);
    match (others.next(), others.next()) {
        (Some(id), None) => Ok(id.clone()),
        (None, _) if has_others_work(vault, &current).await? => Ok(current),
        (None, _) => Err(format!(
            "the key ring has the current key {current} alone; add another: portcullis key new --append FILE"
        )),
        (Some(_), Some(_)) => Err(format!(
            "the key ring has {}, of which {current} is the current one; say which to promote: --to KEY_ID",
            names()
        )),
    }
}

/// Whether a rotation to the current key was cut off.
async fn has_others_work(vault: &Vault, current: &KeyId) -> Result<bool, String> {
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

    use portcullis_store::MasterKeyRing;

    use super::*;

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
