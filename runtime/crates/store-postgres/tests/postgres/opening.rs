//! What is looked at before a database is used: its schema, its roles, its durability, and who it is.

use std::io::Write as _;
use std::path::PathBuf;

use portcullis_core::id::NodeId;
use portcullis_core::ledger::LedgerPhase;
use portcullis_store::{Ledger as _, Store as _};
use portcullis_store_conformance::cluster::{Cluster, PASSWORD, SUPERUSER};
use portcullis_store_conformance::ledger::event;
use portcullis_store_postgres::{
    OpenPostgresError, PasswordPlaces, PostgresLedger, PostgresOptions, PostgresPool, PostgresStore,
    SCHEMA_VERSION, migrate,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::scene::{KEY, fresh_url, migrated, name, open, options, put, value};

async fn refusal(options: &PostgresOptions) -> OpenPostgresError {
    PostgresStore::open(options, Some(&KEY)).await.map(drop).unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_missing_older_or_newer_is_refused_with_what_to_do() {
    let Some(cluster) = Cluster::shared() else { return };
    let url = cluster.database();
    let options = options(&url);
    assert!(refusal(&options).await.to_string().contains("run `portcullis migrate`"));
    let migrated = migrate(&options, None).await.unwrap();
    assert_eq!((migrated.from, migrated.to), (0, SCHEMA_VERSION));
    let again = migrate(&options, None).await.unwrap();
    assert_eq!((again.from, again.to), (SCHEMA_VERSION, SCHEMA_VERSION));
    open(&url).await.commit(put("a", "1")).await.unwrap();
    cluster.sql(name(&url), "INSERT INTO portcullis.schema_version VALUES (999)");
    for error in [refusal(&options).await, migrate(&options, None).await.unwrap_err()] {
        assert!(matches!(error, OpenPostgresError::SchemaNewer { found: 999, .. }), "{error}");
    }
    cluster.sql(name(&url), "DELETE FROM portcullis.schema_version WHERE version = 999");
    assert_eq!(value(&open(&url).await, "a").await.as_deref(), Some("1"));
    cluster.sql(name(&url), "UPDATE portcullis.schema_version SET version = version - 1000");
    let error = refusal(&options).await;
    assert!(matches!(error, OpenPostgresError::SchemaOlder { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_migrate_at_once_do_it_once() {
    let Some(cluster) = Cluster::shared() else { return };
    let url = cluster.database();
    let all: Vec<_> = (0..4)
        .map(|_| {
            let options = options(&url);
            tokio::spawn(async move { migrate(&options, None).await.unwrap() })
        })
        .collect();
    let mut first = 0;
    for one in all {
        first += u32::from(one.await.unwrap().from == 0);
    }
    assert_eq!(first, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_serving_role_serves_and_can_change_nothing_else() {
    let Some(cluster) = Cluster::shared() else { return };
    let url = cluster.database();
    let database = name(&url).to_owned();
    let (owner, server) = (format!("owner_{database}"), format!("Server \"{database}\""));
    let quoted = format!("\"{}\"", server.replace('"', "\"\""));
    cluster.sql(
        &database,
        &format!("CREATE ROLE {owner} LOGIN; CREATE ROLE {quoted} LOGIN; GRANT CREATE ON DATABASE {database} TO {owner}"),
    );
    migrate(&options(&cluster.url(&database, &owner)), Some(&server)).await.unwrap();
    let serving = options(&cluster.url(&database, &server.replace('"', "%22").replace(' ', "%20")));
    let store = PostgresStore::open(&serving, Some(&KEY)).await.unwrap();
    for n in 0..3 {
        store.commit(put(&format!("k/{n}"), "1")).await.unwrap();
    }
    assert_eq!(store.changes(0, 9).await.unwrap().len(), 3);
    assert!(store.verify().await.unwrap().findings.is_empty());
    let pool = PostgresPool::open(&serving).await.unwrap();
    let ledger = PostgresLedger::open(pool, NodeId::parse("one").unwrap(), None).await.unwrap();
    ledger.append(&event("acme", "out_1", LedgerPhase::Refused)).await.unwrap();
    let close = "SELECT portcullis.ledger_close('acme', 'one', 1)";
    assert_eq!(cluster.sql(&database, &format!("SET ROLE {quoted}; {close}")), "t");
    for statement in [
        "SELECT portcullis.ledger_cut('acme', 'one', 1, '')",
        "UPDATE portcullis.ledger_retention SET least_days = 0",
        "DELETE FROM portcullis.ledger_records",
        "DROP TABLE portcullis.records",
        "ALTER TABLE portcullis.records DROP COLUMN seal",
        "TRUNCATE portcullis.change_log",
        "UPDATE portcullis.change_log SET changes = ''",
        "DELETE FROM portcullis.schema_version",
        "INSERT INTO portcullis.schema_version VALUES (999)",
        "CREATE TABLE portcullis.more (n integer)",
    ] {
        let attempt = std::panic::catch_unwind(|| {
            cluster.sql(&database, &format!("SET ROLE {quoted}; {statement}"));
        });
        assert!(attempt.is_err(), "{statement}");
    }
    assert_eq!(cluster.sql(&database, "SELECT count(*) FROM portcullis.ledger_records"), "1");
    let error = migrate(&serving, None).await.map(drop);
    // It is at this version already, so that nothing is to be done; a step it could not take.
    error.unwrap();
    cluster.sql(&database, "UPDATE portcullis.schema_version SET version = version - 1000");
    migrate(&serving, None).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_keep_what_it_acknowledges_is_refused() {
    let Some(cluster) = Cluster::start(&["fsync=off"]) else { return };
    let error = migrate(&options(&cluster.database()), None).await.unwrap_err();
    assert!(matches!(error, OpenPostgresError::NotDurable { setting: "fsync" }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_waits_for_the_disk_whatever_the_role_s_defaults_are() {
    let Some(cluster) = Cluster::shared() else { return };
    let (url, store) = fresh_url(cluster).await;
    drop(store);
    let database = name(&url).to_owned();
    let defaults = format!(
        "ALTER DATABASE {database} SET synchronous_commit = off; ALTER DATABASE {database} SET search_path = public;
         ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'"
    );
    cluster.sql(&database, &defaults);
    let pool = PostgresPool::open(&options(&url)).await.unwrap();
    for (setting, wanted) in [
        ("synchronous_commit", "on"),
        ("search_path", "portcullis"),
        ("default_transaction_isolation", "read committed"),
        ("statement_timeout", "5s"),
    ] {
        assert_eq!(pool.setting(setting).await.unwrap(), wanted);
    }
    open(&url).await.commit(put("a", "1")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_told_and_used_again_when_it_is_back() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let url = migrated(&cluster).await;
    let store = open(&url).await;
    store.commit(put("a", "1")).await.unwrap();
    assert!(store.is_well());
    cluster.kill();
    store.commit(put("a", "2")).await.unwrap_err();
    assert!(!store.is_well());
    let error = refusal(&options(&url)).await;
    assert!(matches!(error, OpenPostgresError::Unavailable(_)), "{error}");
    cluster.run();
    // Without any call: the store looks for itself.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !store.is_well() {
        assert!(std::time::Instant::now() < end, "it is not used again");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(value(&store, "a").await.as_deref(), Some("1"));
    store.commit(put("a", "3")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrapped_key_is_kept_once_and_exchanged_only_for_the_one_that_was_read() {
    let Some(cluster) = Cluster::shared() else { return };
    let url = migrated(cluster).await;
    let pool = PostgresPool::open(&options(&url)).await.unwrap();
    assert_eq!(pool.wrapped_key("records").await.unwrap(), None);
    assert_eq!(pool.keep_wrapped_key("records", "one").await.unwrap(), "one");
    assert_eq!(pool.keep_wrapped_key("records", "two").await.unwrap(), "one", "the first one stays");
    assert!(!pool.rewrap_key("records", "two", "three").await.unwrap());
    assert!(pool.rewrap_key("records", "one", "three").await.unwrap());
    assert_eq!(pool.wrapped_key("records").await.unwrap().as_deref(), Some("three"));
    pool.keep_wrapped_key("other", &"x".repeat(5000)).await.unwrap_err();
}

/// An authority, and a certificate of it for `localhost`.
struct Certificates {
    dir: TempDir,
    server: String,
    key: String,
}

impl Certificates {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let server = params.signed_by(&key, &authority).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        Self { dir, server: server.pem(), key: key.serialize_pem() }
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }
}

fn password_file(dir: &TempDir, password: &str) -> PasswordPlaces {
    let mut file = tempfile::Builder::new().tempfile_in(dir.path()).unwrap();
    file.write_all(password.as_bytes()).unwrap();
    let (_, path) = file.keep().unwrap();
    PasswordPlaces { file: Some(path), ..PasswordPlaces::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tcp_the_server_is_verified_by_its_authority_and_its_name() {
    let (own, foreign) = (Certificates::new(), Certificates::new());
    let Some(cluster) = Cluster::start_with_tls(&own.server, &own.key) else { return };
    let database = name(&cluster.database()).to_owned();
    let over_tcp = |host: &str, ca: &Certificates, password: &str| PostgresOptions {
        ca_file: Some(ca.ca()),
        password: password_file(&own.dir, password),
        ..options(&format!("postgres://{SUPERUSER}@{host}:{}/{database}?sslmode=verify-full", cluster.port()))
    };
    let right = over_tcp("localhost", &own, PASSWORD);
    migrate(&right, None).await.unwrap();
    let store = PostgresStore::open(&right, Some(&KEY)).await.unwrap();
    store.commit(put("a", "1")).await.unwrap();
    assert_eq!(value(&store, "a").await.as_deref(), Some("1"));
    let foreign_authority = refusal(&over_tcp("localhost", &foreign, PASSWORD)).await.to_string();
    // Both authorities have the same name, so it is the signature that does not fit.
    assert!(foreign_authority.contains("BadSignature"), "{foreign_authority}");
    let other_name = refusal(&over_tcp("127.0.0.1", &own, PASSWORD)).await.to_string();
    assert!(other_name.contains("not valid for name"), "{other_name}");
    let mut public_roots = right.clone();
    public_roots.ca_file = None;
    assert!(refusal(&public_roots).await.to_string().contains("UnknownIssuer"));
    let wrong = refusal(&over_tcp("localhost", &own, "wrong secret")).await.to_string();
    assert!(wrong.contains("password authentication failed") && !wrong.contains("wrong secret"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_hosts_a_silent_first_one_does_not_keep_the_second_from_being_used() {
    let own = Certificates::new();
    let Some(cluster) = Cluster::start_with_tls(&own.server, &own.key) else { return };
    // It takes connections, which wait in its queue for ever.
    let silent = std::net::TcpListener::bind(("127.0.0.2", cluster.port())).unwrap();
    let database = name(&cluster.database()).to_owned();
    let over = |hosts: &str| PostgresOptions {
        ca_file: Some(own.ca()),
        password: password_file(&own.dir, PASSWORD),
        ..options(&format!(
            "postgres://{SUPERUSER}@{hosts}:{}/{database}?sslmode=verify-full",
            cluster.port()
        ))
    };
    let both = over("127.0.0.2,localhost");
    migrate(&both, None).await.unwrap();
    let store = PostgresStore::open(&both, Some(&KEY)).await.unwrap();
    store.commit(put("a", "1")).await.unwrap();
    assert_eq!(value(&store, "a").await.as_deref(), Some("1"));
    let none = refusal(&over("127.0.0.2,127.0.0.2")).await.to_string();
    assert!(none.contains("does not answer in time"), "{none}");
    drop(silent);
}
