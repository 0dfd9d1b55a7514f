use std::sync::Arc;

use cairn_storage::meta::record::{DirectoryState, UserRecord};

use super::*;
use crate::error::Code;
use crate::gate::Identity;
use crate::testing::{Fake, request_of};

async fn code<T>(result: impl Future<Output = Result<T, S3Error>>) -> Code {
    result.await.err().unwrap().code
}

async fn open(gateway: &Gateway, user: &UserRecord, bucket: &str) -> Result<Access, S3Error> {
    open_as(gateway, &Arc::new(Identity::from(user)), bucket, None).await
}

async fn open_as(
    gateway: &Gateway,
    caller: &Caller,
    bucket: &str,
    expected_owner: Option<&HeaderValue>,
) -> Result<Access, S3Error> {
    let circumstances = Circumstances::of(&request_of(caller.clone()), Version::Current);
    Access::open(gateway, (caller, circumstances), &["s3:GetObject"], (bucket, "k"), expected_owner).await
}

/// A policy of bucket `b`.
fn policy(effect: &str, principal: &str, action: &str, resource: &str) -> String {
    format!(
        r#"{{"Statement": {{"Effect": "{effect}", "Principal": {principal}, "Action": "{action}",
            "Resource": "arn:aws:s3:::{resource}"}}}}"#
    )
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
    assert!(matches!(answer, Answer::Bucket(Some((record, _))) if record.id == new));

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
    let access = open_as(&gateway, &caller, "b", Some(&expected)).await.unwrap();
    fake.0.lock().buckets.remove(&old);
    fake.add_bucket("b", root.id);
    assert_eq!(code(access.query(|bucket| Query::Bucket { bucket })).await, Code::AccessDenied);
    assert_eq!(code(open_as(&gateway, &caller, "b", Some(&expected))).await, Code::AccessDenied);
}

/// A query that any answer of the group comes by.
fn list(bucket: BucketId) -> Query {
    let (prefix, from) = (String::new(), cairn_storage::meta::query::ListFrom::Start);
    Query::List { bucket, prefix, delimiter: None, from, limit: 1 }
}

#[tokio::test]
async fn a_policy_that_another_gateway_has_set_holds_for_the_next_answer() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let (anna, ben) = (fake.add_user("anna", false), fake.add_user("ben", false));
    let id = fake.add_bucket("b", anna.id);
    let access = open(&gateway, &anna, "b").await.unwrap();
    let set = |text: Option<String>| fake.0.lock().set(id, Setting::Policy, text.as_deref());

    set(Some(policy("Deny", "\"*\"", "s3:GetObject", "b/*")));
    assert_eq!(code(access.query(list)).await, Code::AccessDenied, "judged before, and answered after");
    assert_eq!(code(open(&gateway, &anna, "b")).await, Code::AccessDenied);
    let seal = |bucket| Command::SealBucket { bucket };
    assert_eq!(code(access.command(seal)).await, Code::AccessDenied);
    assert!(fake.0.lock().buckets.contains_key(&id), "nothing is changed by who may not");

    set(Some(policy("Allow", r#"{"AWS": "arn:aws:iam::000000000000:user/ben"}"#, "s3:GetObject", "b/k")));
    assert!(open(&gateway, &ben, "b").await.is_ok(), "what is remembered denies nobody");
    assert!(access.query(list).await.is_ok());
    let of_ben = open(&gateway, &ben, "b").await.unwrap();
    set(None);
    assert_eq!(code(of_ben.query(list)).await, Code::AccessDenied, "what is remembered allows nobody");
    assert_eq!(code(of_ben.command(seal)).await, Code::AccessDenied);
}

#[tokio::test]
async fn each_key_that_was_allowed_is_judged_again() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let (anna, ben) = (fake.add_user("anna", false), fake.add_user("ben", false));
    let id = fake.add_bucket("b", anna.id);
    let set = |text: String| fake.0.lock().set(id, Setting::Policy, Some(&text));
    set(policy("Allow", "\"*\"", "s3:*", "b/*"));
    let access = open(&gateway, &ben, "b").await.unwrap();
    access.allow("s3:DeleteObject", "other", &Version::Current).unwrap();
    assert!(access.allow("s3:PutBucketPolicy", "", &Version::Current).is_err(), "it is about the keys");
    set(policy("Allow", "\"*\"", "s3:*", "b/k"));
    let command = |bucket| Command::SealBucket { bucket };
    assert_eq!(code(access.command(command)).await, Code::AccessDenied, "the other key is denied by now");
}

#[tokio::test]
async fn who_has_not_signed_is_allowed_what_is_public_and_looks_up_little() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let anna = fake.add_user("anna", false);
    let (id, _) = (fake.add_bucket("b", anna.id), fake.add_bucket("private", anna.id));
    fake.0.lock().set(id, Setting::Policy, Some(&policy("Allow", "\"*\"", "s3:GetObject", "b/*")));
    let nobody = Identity::anonymous();
    for _ in 0..1_000 {
        assert!(open_as(&gateway, &nobody, "b", None).await.is_ok());
    }
    let before = fake.0.lock().root_queries;
    let mut told = std::collections::BTreeMap::new();
    for number in 0..1_000 {
        for name in [format!("made-up-{}", number % 500), "private".to_owned()] {
            *told.entry(code(open_as(&gateway, &nobody, &name, None)).await.as_str()).or_insert(0) += 1;
        }
    }
    assert!(fake.0.lock().root_queries - before < 500, "made-up names do not keep the root group busy");
    assert_eq!(told["AccessDenied"] + told["SlowDown"] + told["NoSuchBucket"], 2_000, "{told:?}");
    assert_eq!(code(open_as(&gateway, &nobody, &"n".repeat(64), None)).await, Code::NoSuchBucket);
    assert!(gateway.known_bucket("private").is_some());
    assert!(open_as(&gateway, &nobody, "b", None).await.is_ok(), "what is open stays so");
}

#[tokio::test]
async fn a_missing_key_is_said_to_who_may_list() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let (anna, ben) = (fake.add_user("anna", false), fake.add_user("ben", false));
    let id = fake.add_bucket("b", anna.id);
    let missing = || S3Error::from(Code::NoSuchKey);
    fake.0.lock().set(id, Setting::Policy, Some(&policy("Allow", "\"*\"", "s3:GetObject", "b/*")));
    let access = open(&gateway, &ben, "b").await.unwrap();
    assert_eq!(access.missing(missing()).await.code, Code::AccessDenied);
    assert_eq!(open(&gateway, &anna, "b").await.unwrap().missing(missing()).await.code, Code::NoSuchKey);
    let both = r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]}}"#;
    fake.0.lock().set(id, Setting::Policy, Some(both));
    assert_eq!(access.missing(missing()).await.code, Code::NoSuchKey);
}

#[tokio::test]
async fn a_setting_is_set_only_on_what_was_checked() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let anna = fake.add_user("anna", false);
    let id = fake.add_bucket("b", anna.id);
    let access = open(&gateway, &anna, "b").await.unwrap();
    let text = policy("Allow", "\"*\"", "s3:GetObject", "b/*");
    let checks = std::cell::Cell::new(0);
    // Between the check and the command another gateway blocks public policies.
    let check = |bucket: &Bucket| {
        checks.set(checks.get() + 1);
        if bucket.block.is_some_and(|block| block.block_public_policy) {
            return Err(Code::AccessDenied.into());
        }
        if checks.get() == 1 {
            fake.0.lock().set(id, Setting::PublicAccessBlock, Some(r#"{"BlockPublicPolicy": true}"#));
        }
        Ok(())
    };
    assert_eq!(code(access.set(Setting::Policy, Some(text.into()), check)).await, Code::AccessDenied);
    assert_eq!(checks.get(), 2);
    assert!(!fake.0.lock().settings.contains_key(&(id, Setting::Policy)));
}

#[tokio::test]
async fn whatever_a_policy_says_its_owner_puts_it_right() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let (anna, root) = (fake.add_user("anna", false), fake.add_user("root", true));
    let id = fake.add_bucket("b", anna.id);
    let both = r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:*",
        "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]}}"#;
    for text in [both, "no policy at all"] {
        fake.0.lock().set(id, Setting::Policy, Some(text));
        for user in [&anna, &root] {
            let caller = Arc::new(Identity::from(&**user));
            assert_eq!(code(open_as(&gateway, &caller, "b", None)).await, Code::AccessDenied);
            for action in [&["s3:GetBucketPolicy"], &["s3:PutBucketPolicy"], &["s3:DeleteBucketPolicy"]] {
                let circumstances = Circumstances::of(&request_of(caller.clone()), Version::Current);
                let opened = Access::open(&gateway, (&caller, circumstances), action, ("b", ""), None).await;
                assert!(opened.is_ok(), "{text} {action:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_becomes_public_is_open_within_a_second_whoever_asks_for_other_names() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let anna = fake.add_user("anna", false);
    let id = fake.add_bucket("b", anna.id);
    let nobody = Identity::anonymous();
    assert_eq!(code(open_as(&gateway, &nobody, "b", None)).await, Code::AccessDenied);
    fake.0.lock().set(id, Setting::Policy, Some(&policy("Allow", "\"*\"", "s3:GetObject", "b/*")));
    let until = std::time::Instant::now() + std::time::Duration::from_millis(1_050);
    while std::time::Instant::now() < until {
        drop(open_as(&gateway, &nobody, "made-up", None).await);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(open_as(&gateway, &nobody, "b", None).await.is_ok());
}

#[tokio::test]
async fn what_a_copy_takes_is_judged_as_it_is_taken() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let anna = fake.add_user("anna", false);
    let (from, _) = (fake.add_bucket("from", anna.id), fake.add_bucket("to", anna.id));
    let (source, target) = (open(&gateway, &anna, "from").await.unwrap(), open(&gateway, &anna, "to").await.unwrap());
    let seal = |bucket| Command::SealBucket { bucket };
    fake.0.lock().set(from, Setting::Policy, Some(&policy("Deny", "\"*\"", "s3:GetObject", "from/*")));
    let (_, result) = target.command_from(&source, seal).await.unwrap();
    assert_eq!(result, Err(Rejection::SourceChanged), "and it is asked for again, and judged");
    assert_eq!(code(source.query(list)).await, Code::AccessDenied);
    fake.0.lock().set(from, Setting::Policy, None);
    source.query(list).await.unwrap();
    assert!(target.command_from(&source, seal).await.unwrap().1.is_ok());
}

#[tokio::test]
async fn the_version_of_each_key_is_what_a_condition_is_asked_of() {
    let fake = Fake::default();
    let gateway = fake.gateway();
    let anna = fake.add_user("anna", false);
    let id = fake.add_bucket("b", anna.id);
    let deny = policy("Deny", "\"*\"", "s3:DeleteObjectVersion", "b/*");
    let text = deny.replacen("}", r#", "Condition": {"StringEquals": {"s3:VersionId": "null"}}}"#, 1);
    fake.0.lock().set(id, Setting::Policy, Some(&text));
    let access = open(&gateway, &anna, "b").await.unwrap();
    let allow = |version| access.allow("s3:DeleteObjectVersion", "k", &version);
    assert!(allow(Version::Id("other".to_owned())).is_ok() && allow(Version::Current).is_ok());
    assert_eq!(allow(Version::Null).unwrap_err().code, Code::AccessDenied);
}
