//! Two roles: the one that owns the schema migrates, the one of the nodes only adds to ledgers.

use std::panic::AssertUnwindSafe;

use portcullis_store_conformance::cluster::Cluster;

use super::installation::{Installation, database, init};
use crate::field_cases::damage::product::{prepare, refused_call};
use crate::support::binary::run;

#[tokio::test]
async fn the_role_of_the_nodes_serves_and_can_neither_change_nor_drop_what_is_in_a_ledger() {
    let Some(cluster) = Cluster::shared() else { return };
    let owner = cluster.database();
    let db = database(&owner).to_owned();
    cluster.sql(&db, "CREATE ROLE serving LOGIN");
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["migrate", "--store", &owner, "--serving-role", "serving"]).exits(0);
    let url = cluster.url(&db, "serving");
    let platform = init(dir.path(), &url);
    let installed = Installation { dir, url, platform };
    let node = installed.node("one");
    let tokens = prepare(&node, &installed.platform).await;
    refused_call(&node, &tokens, 0).await;
    // As the role, not as the owner: an error of the last statement is the evidence.
    let as_serving = |sql: &str| {
        let sql = format!(
            "SET ROLE serving; DO $$ BEGIN {sql}; RAISE EXCEPTION 'it was done'; EXCEPTION \
                           WHEN insufficient_privilege THEN NULL; END $$; SELECT 'refused'"
        );
        std::panic::catch_unwind(AssertUnwindSafe(|| cluster.sql(&db, &sql)))
            .unwrap_or_else(|_| "done".to_owned())
    };
    for sql in [
        "DELETE FROM portcullis.ledger_records",
        "UPDATE portcullis.ledger_records SET line = ''",
        "TRUNCATE portcullis.ledger_records",
        "DROP TABLE portcullis.ledger_records",
        "UPDATE portcullis.ledger_heads SET seq = 0",
        "UPDATE portcullis.ledger_retention SET least_days = 0",
        "DELETE FROM portcullis.moving",
        "INSERT INTO portcullis.schema_version (version) VALUES (999)",
    ] {
        assert_eq!(as_serving(sql), "refused", "{sql}");
    }
    assert_eq!(as_serving("PERFORM count(*) FROM portcullis.ledger_records"), "done", "it reads them");
    assert_eq!(installed.run(&["ledger", "verify"]).exits(0).code, Some(0));
}
