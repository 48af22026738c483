//! Modules in a real PostgreSQL.

use portcullis_core::hex;
use portcullis_store_conformance::cluster::Cluster;

use super::*;
use crate::test_database::Database;

#[tokio::test]
async fn a_module_is_believed_only_by_its_digest() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = Database::new(cluster).await;
    let modules = PostgresModules::new(database.pool().await);
    let bytes: Arc<[u8]> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let hex = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes).as_ref());
    assert!(modules.read(&hex).await.unwrap().is_none());
    for _ in 0..2 {
        modules.write(&hex, Arc::clone(&bytes)).await.unwrap();
    }
    assert_eq!(modules.read(&hex).await.unwrap().as_deref(), Some(&*bytes));
    database.sql("UPDATE modules SET bytes = set_byte(bytes, 7, 1)");
    assert_eq!(modules.read(&hex).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    modules.write(&hex, Arc::clone(&bytes)).await.unwrap();
    assert!(modules.read(&hex).await.unwrap().is_some(), "uploaded again, it is right again");
    for _ in 0..2 {
        modules.remove(&hex).await.unwrap();
        assert!(modules.read(&hex).await.unwrap().is_none());
    }
}
