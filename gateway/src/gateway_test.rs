use super::*;
use crate::testing::Fake;

async fn code<T: std::fmt::Debug>(result: impl Future<Output = Result<T, S3Error>>) -> Code {
    result.await.unwrap_err().code
}

fn bucket(bucket: BucketId) -> Query {
    Query::Bucket { bucket }
}

#[tokio::test]
async fn users_are_asked_for_once_and_so_are_keys_that_nobody_has() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    fake.add_user("anna", false);
    for _ in 0..3 {
        assert_eq!(gateway.user_by_access_key("KEYanna").await.unwrap().unwrap().name, "anna");
        assert!(gateway.user_by_access_key("KEYnobody").await.unwrap().is_none());
    }
    assert_eq!(fake.0.lock().root_queries, 2);
    gateway.forget_users().await;
    gateway.user_by_access_key("KEYanna").await.unwrap();
    assert_eq!(fake.0.lock().root_queries, 3);
}

#[tokio::test]
async fn only_the_owner_and_root_may_use_a_bucket() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let (anna, ben, root) = (fake.add_user("anna", false), fake.add_user("ben", false), fake.add_user("root", true));
    fake.add_bucket("b", anna.id);
    for user in [&anna, &root] {
        assert_eq!(gateway.open_bucket(user, "b").await.unwrap().owner, anna.id);
    }
    assert_eq!(code(gateway.open_bucket(&ben, "b")).await, Code::AccessDenied);
    assert_eq!(code(gateway.query_bucket(&ben, "b", bucket)).await, Code::AccessDenied);
    assert_eq!(code(gateway.open_bucket(&ben, "other")).await, Code::NoSuchBucket);
}

#[tokio::test]
async fn a_bucket_that_was_made_anew_elsewhere_is_found_at_its_new_id() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let anna = fake.add_user("anna", false);
    let old = fake.add_bucket("b", anna.id);
    gateway.query_bucket(&anna, "b", bucket).await.unwrap();
    let asked = fake.0.lock().root_queries;
    gateway.query_bucket(&anna, "b", bucket).await.unwrap();
    assert_eq!(fake.0.lock().root_queries, asked, "the directory is cached");

    fake.0.lock().buckets.remove(&old);
    let new = fake.add_bucket("b", anna.id);
    let (entry, answer) = gateway.query_bucket(&anna, "b", bucket).await.unwrap();
    assert_eq!(entry.id, new);
    assert!(matches!(answer, Answer::Bucket(Some(record)) if record.id == new));

    fake.0.lock().buckets.remove(&new);
    let newer = fake.add_bucket("b", anna.id);
    let seal = |bucket| Command::SealBucket { bucket };
    let (entry, result) = gateway.command_bucket(&anna, "b", seal).await.unwrap();
    assert_eq!((entry.id, result.is_ok()), (newer, true));
}

#[tokio::test]
async fn a_bucket_that_its_group_has_sealed_is_no_more_although_root_still_has_it() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let anna = fake.add_user("anna", false);
    let id = fake.add_bucket("b", anna.id);
    gateway.open_bucket(&anna, "b").await.unwrap();
    fake.0.lock().buckets.remove(&id);
    assert_eq!(code(gateway.query_bucket(&anna, "b", bucket)).await, Code::NoSuchBucket);
    assert_eq!(code(gateway.query_bucket(&anna, "b", bucket)).await, Code::NoSuchBucket);
    let seal = |bucket| Command::SealBucket { bucket };
    assert_eq!(code(gateway.command_bucket(&anna, "b", seal)).await, Code::NoSuchBucket);
}

#[tokio::test]
async fn a_cached_entry_of_somebody_elses_does_not_deny_the_new_owner() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let (anna, ben) = (fake.add_user("anna", false), fake.add_user("ben", false));
    let old = fake.add_bucket("b", anna.id);
    gateway.open_bucket(&anna, "b").await.unwrap();
    fake.0.lock().buckets.remove(&old);
    let new = fake.add_bucket("b", ben.id);
    assert_eq!(gateway.open_bucket(&ben, "b").await.unwrap().id, new);
    assert_eq!(code(gateway.open_bucket(&anna, "b")).await, Code::AccessDenied);
}

#[tokio::test]
async fn a_reserved_bucket_does_not_exist_yet() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let anna = fake.add_user("anna", false);
    fake.add_bucket("b", anna.id);
    fake.0.lock().directory.get_mut("b").unwrap().state = DirectoryState::Creating;
    assert_eq!(code(gateway.open_bucket(&anna, "b")).await, Code::NoSuchBucket);
}
