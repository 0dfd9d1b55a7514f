use std::sync::Arc;

use cairn_storage::meta::record::UserRecord;

use super::*;
use crate::error::Code;
use crate::gate::Identity;
use crate::testing::Fake;

async fn code<T>(result: impl Future<Output = Result<T, S3Error>>) -> Code {
    result.await.err().unwrap().code
}

async fn open(gateway: &Gateway, user: &UserRecord, bucket: &str) -> Result<Access, S3Error> {
    Access::open(gateway, &Arc::new(Identity::from(user)), &["s3:GetObject"], (bucket, "k"), None).await
}

async fn query(gateway: &Gateway, user: &UserRecord, bucket: &str) -> Result<(Arc<DirectoryEntry>, Answer), S3Error> {
    open(gateway, user, bucket).await?.query(|bucket| Query::Bucket { bucket }).await
}

async fn seal(
    gateway: &Gateway,
    user: &UserRecord,
    bucket: &str,
) -> Result<(Arc<DirectoryEntry>, Result<Outcome, Rejection>), S3Error> {
    open(gateway, user, bucket).await?.command(|bucket| Command::SealBucket { bucket }).await
}

#[tokio::test]
async fn only_the_owner_and_root_may_use_a_bucket() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let (anna, ben, root) = (fake.add_user("anna", false), fake.add_user("ben", false), fake.add_user("root", true));
    fake.add_bucket("b", anna.id);
    for user in [&anna, &root] {
        assert_eq!(open(&gateway, user, "b").await.unwrap().entry().owner, anna.id);
    }
    assert_eq!(code(open(&gateway, &ben, "b")).await, Code::AccessDenied);
    assert_eq!(code(query(&gateway, &ben, "b")).await, Code::AccessDenied);
    assert_eq!(code(open(&gateway, &ben, "other")).await, Code::NoSuchBucket);
}

#[tokio::test]
async fn a_bucket_that_was_made_anew_elsewhere_is_found_at_its_new_id() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let anna = fake.add_user("anna", false);
    let old = fake.add_bucket("b", anna.id);
    query(&gateway, &anna, "b").await.unwrap();
    let asked = fake.0.lock().root_queries;
    query(&gateway, &anna, "b").await.unwrap();
    assert_eq!(fake.0.lock().root_queries, asked, "the directory is cached");

    fake.0.lock().buckets.remove(&old);
    let new = fake.add_bucket("b", anna.id);
    let (entry, answer) = query(&gateway, &anna, "b").await.unwrap();
    assert_eq!(entry.id, new);
    assert!(matches!(answer, Answer::Bucket(Some(record)) if record.id == new));

    fake.0.lock().buckets.remove(&new);
    let newer = fake.add_bucket("b", anna.id);
    let (entry, result) = seal(&gateway, &anna, "b").await.unwrap();
    assert_eq!((entry.id, result.is_ok()), (newer, true));
}

#[tokio::test]
async fn a_bucket_that_its_group_has_sealed_is_no_more_although_root_still_has_it() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let anna = fake.add_user("anna", false);
    let id = fake.add_bucket("b", anna.id);
    open(&gateway, &anna, "b").await.unwrap();
    fake.0.lock().buckets.remove(&id);
    assert_eq!(code(query(&gateway, &anna, "b")).await, Code::NoSuchBucket);
    assert_eq!(code(query(&gateway, &anna, "b")).await, Code::NoSuchBucket);
    assert_eq!(code(seal(&gateway, &anna, "b")).await, Code::NoSuchBucket);
}

#[tokio::test]
async fn a_cached_entry_of_somebody_elses_does_not_deny_the_new_owner() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let (anna, ben) = (fake.add_user("anna", false), fake.add_user("ben", false));
    let old = fake.add_bucket("b", anna.id);
    open(&gateway, &anna, "b").await.unwrap();
    fake.0.lock().buckets.remove(&old);
    let new = fake.add_bucket("b", ben.id);
    assert_eq!(open(&gateway, &ben, "b").await.unwrap().entry().id, new);
    assert_eq!(code(open(&gateway, &anna, "b")).await, Code::AccessDenied);
}

#[tokio::test]
async fn a_reserved_bucket_does_not_exist_yet() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let anna = fake.add_user("anna", false);
    fake.add_bucket("b", anna.id);
    fake.0.lock().directory.get_mut("b").unwrap().state = DirectoryState::Creating;
    assert_eq!(code(open(&gateway, &anna, "b")).await, Code::NoSuchBucket);
}

#[tokio::test]
async fn what_was_found_again_is_kept() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let anna = fake.add_user("anna", false);
    let old = fake.add_bucket("b", anna.id);
    let access = open(&gateway, &anna, "b").await.unwrap();
    fake.0.lock().buckets.remove(&old);
    let new = fake.add_bucket("b", anna.id);
    assert_eq!(access.query(|bucket| Query::Bucket { bucket }).await.unwrap().0.id, new);
    let asked = fake.0.lock().root_queries;
    let (entry, sealed) = access.command(|bucket| Command::SealBucket { bucket }).await.unwrap();
    assert_eq!((entry.id, sealed.is_ok()), (new, true));
    assert_eq!(fake.0.lock().root_queries, asked, "the dead bucket is not asked again");
}

#[tokio::test]
async fn an_expected_owner_holds_for_what_is_found_again_too() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let (anna, root) = (fake.add_user("anna", false), fake.add_user("root", true));
    let old = fake.add_bucket("b", anna.id);
    let caller = Arc::new(Identity::from(&*root));
    let expected = HeaderValue::try_from(anna.id.to_string()).unwrap();
    let access = Access::open(&gateway, &caller, &["s3:GetObject"], ("b", "k"), Some(&expected)).await.unwrap();
    fake.0.lock().buckets.remove(&old);
    fake.add_bucket("b", root.id);
    assert_eq!(code(access.query(|bucket| Query::Bucket { bucket })).await, Code::AccessDenied);
    let opened = Access::open(&gateway, &caller, &["s3:GetObject"], ("b", "k"), Some(&expected));
    assert_eq!(code(opened).await, Code::AccessDenied);
}
