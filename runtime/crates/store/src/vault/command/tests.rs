//! The program behind the keys: a real one that encrypts with OpenSSL, and ones that misbehave.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use portcullis_core::id::{OrgId, WorkspaceId};

use super::super::tests::secret_text;
use super::*;
use crate::vault::tests::{binding, example};
use crate::{MasterKeyRing, MemoryStore, Records, Vault};

/// A service with two keys in files. Each question is noted, without what is secret in it.
const SERVICE: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
read -r question
field() { printf %s "$question" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
op=$(field op); key=$(field key)
printf '%s %s\n' "$op" "$key" >> asked
if [ -e down ]; then printf '{"error":"the service is sealed"}\n'; exit; fi
case "$op" in
keys) printf '{"keys":["unit/1","unit/2"]}\n' ;;
wrap)
  iv=$(openssl rand -hex 16)
  text=$(field plaintext | openssl enc -aes-256-cbc -K "$(cat "key-${key#unit/}")" -iv "$iv" -a -A)
  printf '{"ciphertext":"%s.%s"}\n' "$iv" "$text" ;;
unwrap)
  sealed=$(field ciphertext)
  text=$(printf %s "${sealed#*.}" | openssl enc -d -aes-256-cbc -K "$(cat "key-${key#unit/}")" -iv "${sealed%%.*}" -a -A)
  case $text in *[!A-Za-z0-9+/=]*) text= ;; esac
  printf '{"plaintext":"%s"}\n' "$text" ;;
esac
"#;

fn script(dir: &Path, text: &str) -> CommandOptions {
    let path = dir.join("service");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    let second = Duration::from_secs(1);
    CommandOptions {
        // Why by the shell: a file that was written a moment ago may be held open by another test's child.
        argv: vec!["/bin/sh".to_owned(), path.to_str().unwrap().to_owned()],
        timeout: second * 20,
        opened_for: second * 60,
    }
}

/// The service in a folder; `None`, said loudly, on a machine without OpenSSL's program.
#[allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "what a machine must have is said by its environment, and what was not run on standard error"
)]
fn service(dir: &Path) -> Option<CommandOptions> {
    let found = Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success());
    let required = std::env::var("PORTCULLIS_REQUIRE_OPENSSL").is_ok_and(|value| value == "1");
    assert!(found || !required, "PORTCULLIS_REQUIRE_OPENSSL=1 needs the program openssl");
    if !found {
        eprintln!("NOT RUN: there is no program openssl; tests of keys in a service were left out");
        return None;
    }
    for (name, byte) in [("key-1", "11"), ("key-2", "22")] {
        std::fs::write(dir.join(name), byte.repeat(32)).unwrap();
    }
    Some(script(dir, SERVICE))
}

fn asked(dir: &Path, op: &str) -> usize {
    let text = std::fs::read_to_string(dir.join("asked")).unwrap_or_default();
    text.lines().filter(|line| line.starts_with(op)).count()
}

fn why(error: &VaultError) -> String {
    assert!(matches!(error, VaultError::Provider(_)), "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_vault_works_with_keys_that_stay_in_a_service_and_asks_it_once() {
    let dir = tempfile::tempdir().unwrap();
    let Some(options) = service(dir.path()) else { return };
    let keys = MasterKeyRing::from(CommandKeys::open(options.clone()).await.unwrap());
    let records = Records::new(Arc::new(MemoryStore::new()));
    Vault::initialise(records.clone(), keys.clone()).await.unwrap();
    let vault = Vault::open(records.clone(), keys.clone()).await.unwrap();
    let home = binding();
    vault.ensure_workspace_key(&home.org, &home.workspace).await.unwrap();
    let sealed = vault.seal(&home, &example()).await.unwrap();
    let again = Vault::open(records.clone(), keys.clone()).await.unwrap();
    let before = asked(dir.path(), "unwrap");
    let opening = (0..20).map(|_| again.open_sealed(&home, &sealed.text, |_| true));
    for opened in futures_all(opening).await {
        assert_eq!(secret_text(opened.unwrap().fields.get("api_key").unwrap()), "sk_canary");
    }
    assert_eq!(asked(dir.path(), "unwrap"), before + 1, "one question for all that wait");
    // What is opened stays usable for its time while the service is away; what is not, does not open.
    std::fs::write(dir.path().join("down"), "").unwrap();
    again.open_sealed(&home, &sealed.text, |_| true).await.unwrap();
    again.forget_all();
    let error = again.open_sealed(&home, &sealed.text, |_| true).await.unwrap_err();
    assert!(why(&error).contains("the service is sealed"), "{error}");
    std::fs::remove_file(dir.path().join("down")).unwrap();
    again.open_sealed(&home, &sealed.text, |_| true).await.unwrap();
    // A cache that ends: with no time at all, each use asks.
    let hasty = CommandOptions { opened_for: Duration::ZERO, ..options };
    let hasty = Vault::open(records, CommandKeys::open(hasty).await.unwrap()).await.unwrap();
    let before = asked(dir.path(), "unwrap");
    for _ in 0..3 {
        hasty.open_sealed(&home, &sealed.text, |_| true).await.unwrap();
    }
    assert_eq!(asked(dir.path(), "unwrap"), before + 3);
}

/// Polls all in turn, in this task.
async fn futures_all<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        for (one, done) in waiting.iter_mut().filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(value) = one.as_mut().poll(context) {
                *done = Some(value);
            }
        }
        match waiting.iter().all(|(_, done)| done.is_some()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    waiting.into_iter().map(|(_, done)| done.unwrap()).collect()
}

#[tokio::test]
async fn what_a_service_wrapped_opens_for_its_own_binding_and_key_alone_and_a_rotation_moves_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(options) = service(dir.path()) else { return };
    let keys = CommandKeys::open(options.clone()).await.unwrap();
    let [first, second] = keys.key_ids().try_into().unwrap();
    assert_eq!(keys.name_of(&second).as_deref(), Some("unit/2"));
    let wrapped = keys.wrap_key(&first, b"here", &[7; 32]).await.unwrap();
    assert_eq!(*keys.unwrap_key(&first, b"here", &wrapped).await.unwrap(), [7; 32]);
    assert!(keys.unwrap_key(&first, b"there", &wrapped).await.is_err());
    assert!(keys.unwrap_key(&second, b"here", &wrapped).await.is_err());
    let mut changed = wrapped.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert!(matches!(keys.unwrap_key(&first, b"here", &changed).await, Err(VaultError::Refused)));
    assert!(keys.unwrap_key(&first, b"here", &wrapped[..10]).await.is_err());

    // From keys in a file to keys in the service, as an operator moves.
    let local = crate::MasterKey::generate().unwrap();
    let records = Records::new(Arc::new(MemoryStore::new()));
    Vault::initialise(records.clone(), local.clone()).await.unwrap();
    let vault =
        Vault::open(records.clone(), MasterKeyRing::from(local.clone()).and(keys.into())).await.unwrap();
    let (org, workspace) = (OrgId::parse("acme").unwrap(), WorkspaceId::parse("main").unwrap());
    vault.ensure_workspace_key(&org, &workspace).await.unwrap();
    let sealed = vault.seal(&binding(), &example()).await.unwrap();
    let digests = vault.key_for("audit digests").await.unwrap();
    let writes = vault.promotion(&second, 1).await.unwrap().unwrap();
    records.commit(writes).await.unwrap();
    let mut place = Some(crate::RewrapPlace::start());
    while let Some(at) = place {
        let step = vault.rewrap(at, 10).await.unwrap();
        assert!(step.failed.is_none(), "{step:?}");
        place = step.next;
    }
    let away = CommandKeys::open(options).await.unwrap();
    let alone = Vault::open(records.clone(), away).await.unwrap();
    alone.open_sealed(&binding(), &sealed.text, |_| true).await.unwrap();
    assert_eq!(*alone.key_for("audit digests").await.unwrap(), *digests);
    let gone = Vault::open(records, local).await.unwrap_err();
    assert!(matches!(gone, VaultError::MasterKeyNeeded { .. }), "{gone}");
}

#[tokio::test]
async fn a_program_that_does_not_do_its_part_is_told_and_nothing_of_it_stays() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        ("read -r q; echo nonsense", "does not answer with a line of JSON"),
        ("read -r q; exit 3", "ended without an answer"),
        ("read -r q; echo '{}'", "the answer has no `keys`"),
        ("read -r q; echo '{\"keys\":[]}'", "`keys` has 0 names"),
        ("read -r q; echo '{\"keys\":[\"a\",\"a\"]}'", "there twice"),
        ("read -r q; echo '{\"error\":\"no  access\"}'", "it says: no"),
        ("read -r q; head -c 20000 /dev/zero | tr '\\0' x; echo", "longer than 16384 bytes"),
    ];
    for (text, expected) in cases {
        let error = CommandKeys::open(script(dir.path(), text)).await.unwrap_err();
        assert!(why(&error).contains(expected), "{text}: {error}");
    }
    let error = CommandKeys::open(CommandOptions {
        argv: vec![dir.path().join("missing").to_str().unwrap().to_owned()],
        ..script(dir.path(), "")
    });
    assert!(why(&error.await.unwrap_err()).contains("cannot be started"));
    // An answer counts though the program stays, and though something of its group does.
    let stays = script(
        dir.path(),
        "sleep 987 & echo $! > \"$(dirname \"$0\")/child\"; echo '{\"keys\":[\"a\"]}'; sleep 987",
    );
    let started = Instant::now();
    CommandKeys::open(stays).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(15));
    assert_ends(&dir.path().join("child"));
    // One that does not answer is ended with its group.
    std::fs::remove_file(dir.path().join("child")).unwrap();
    let hangs = script(dir.path(), "sleep 987 & echo $! > \"$(dirname \"$0\")/child\"; sleep 987");
    let error =
        CommandKeys::open(CommandOptions { timeout: Duration::from_secs(2), ..hangs }).await.unwrap_err();
    assert!(why(&error).contains("did not answer within 2000 ms"), "{error}");
    assert_ends(&dir.path().join("child"));
}

/// Waits for something for as long as a busy machine may need.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_program_that_has_answered_removes_what_it_made() {
    let dir = tempfile::tempdir().unwrap();
    let text = "cd \"$(dirname \"$0\")\"; trap 'rm -f secret' EXIT; echo a-key > secret; echo x >> asked; read -r q; \
                echo '{\"keys\":[\"a\"]}'";
    for times in 1..=5 {
        CommandKeys::open(script(dir.path(), text)).await.unwrap();
        assert_eq!(asked(dir.path(), "x"), times);
        until("nothing is left", || !dir.path().join("secret").exists()).await;
    }
}

/// Answers what its keys are; everything else it does not.
const SILENT: &str = "cd \"$(dirname \"$0\")\"; read -r q; case \"$q\" in *keys*) echo '{\"keys\":[\"a\"]}'; exit;; esac; \
                      echo $$ > child; sleep 987";

#[tokio::test]
async fn a_question_whose_caller_is_gone_keeps_its_place_and_its_failure_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let keys = CommandKeys::open(script(dir.path(), SILENT)).await.unwrap();
    let options = CommandOptions { timeout: Duration::from_secs(5), ..keys.asked.options.clone() };
    let keys = CommandKeys { asked: Arc::new(Asked { options, failed: Mutex::default() }), ..keys };
    let free = || keys.turns.available_permits();
    until("the first program ended", || free() == AT_ONCE).await;
    let id = keys.key_ids().remove(0);
    let started = until("it is asked", || dir.path().join("child").exists());
    tokio::select! {
        answered = keys.wrap_key(&id, b"", &[0; 32]) => panic!("{answered:?}"),
        () = started => {}
    }
    assert_eq!(free(), AT_ONCE - 1, "the program runs, and counts");
    until("its time is up", || free() == AT_ONCE).await;
    let noted = lock(&keys.asked.failed).clone().map(|(_, why)| why).unwrap();
    assert!(noted.contains("did not answer within 5000 ms"), "{noted}");
    assert_ends(&dir.path().join("child"));
}

#[tokio::test]
async fn a_question_for_which_there_is_no_place_is_refused_after_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let keys = CommandKeys::open(script(dir.path(), SILENT)).await.unwrap();
    let options = CommandOptions { timeout: Duration::from_millis(50), ..keys.asked.options.clone() };
    let keys = CommandKeys { asked: Arc::new(Asked { options, failed: Mutex::default() }), ..keys };
    let id = keys.key_ids().remove(0);
    let all = Arc::clone(&keys.turns).acquire_many_owned(u32::try_from(AT_ONCE).unwrap()).await.unwrap();
    let error = keys.wrap_key(&id, b"", &[0; 32]).await.unwrap_err();
    assert!(why(&error).contains("8 programs run, and none of them ended"), "{error}");
    assert!(!dir.path().join("child").exists(), "nothing was started");
    assert!(lock(&keys.asked.failed).is_none(), "the service did not fail");
    drop(all);
    let error = keys.wrap_key(&id, b"", &[0; 32]).await.unwrap_err();
    assert!(why(&error).contains("did not answer within 50 ms"), "{error}");
}

/// The process whose number is in a file ends.
fn assert_ends(file: &Path) {
    let number = std::fs::read_to_string(file).unwrap().trim().to_owned();
    let state = || std::fs::read_to_string(format!("/proc/{number}/stat")).ok();
    // A zombie has ended; who is to reap it is not this process.
    let is_over =
        || state().is_none_or(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')));
    let until = Instant::now() + Duration::from_secs(20);
    while !is_over() {
        assert!(Instant::now() < until, "process {number} is still there");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn after_a_failure_a_program_is_left_alone_for_a_moment() {
    let dir = tempfile::tempdir().unwrap();
    let text = "cd \"$(dirname \"$0\")\"; echo x >> asked; read -r q; case \"$q\" in *keys*) echo '{\"keys\":[\"a\"]}';; esac";
    let keys = CommandKeys::open(script(dir.path(), text)).await.unwrap();
    let id = keys.key_ids().remove(0);
    let error = keys.wrap_key(&id, b"", &[0; 32]).await.unwrap_err();
    assert!(why(&error).contains("ended without an answer"), "{error}");
    assert_eq!(asked(dir.path(), "x"), 2);
    let minute = Duration::from_secs(60);
    assert!(lock(&keys.asked.failed).is_some());
    *lock(&keys.asked.failed) = Some((Instant::now() + minute, "it is away".to_owned()));
    let error = keys.wrap_key(&id, b"", &[0; 32]).await.unwrap_err();
    assert!(why(&error).contains("it is away"), "{error}");
    assert_eq!(asked(dir.path(), "x"), 2, "it was not asked");
    *lock(&keys.asked.failed) = Instant::now().checked_sub(minute).map(|at| (at, "it was away".to_owned()));
    let error = keys.wrap_key(&id, b"", &[0; 32]).await.unwrap_err();
    assert!(why(&error).contains("ended without an answer"), "{error}");
    assert_eq!(asked(dir.path(), "x"), 3, "it was asked again");
}
