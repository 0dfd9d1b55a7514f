use std::sync::atomic::{AtomicBool, Ordering};

use cairn_storage::meta::record::DirectoryState;
use cairn_storage::types::now_ms;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};

use super::*;
use crate::auth::sign::{Credentials, Unsigned, payload_hash, presign, sign_headers};
use crate::server::Limits;
use crate::testing::Fake;

struct Setup {
    fake: Fake,
    service: Service,
    ready: Arc<AtomicBool>,
}

/// Users `root`, `anna` and `ben`; anna has a bucket `annas`.
fn setup() -> Setup {
    setup_in("us-east-1")
}

fn setup_in(region: &str) -> Setup {
    let fake = Fake::default();
    fake.add_user("root", true);
    let anna = fake.add_user("anna", false);
    fake.add_user("ben", false);
    fake.add_bucket("annas", anna.id);
    let ready = Arc::new(AtomicBool::new(true));
    let is_ready = ready.clone();
    let hooks = Hooks {
        ready: Arc::new(move || {
            let ready = is_ready.load(Ordering::Relaxed);
            Box::pin(async move { ready })
        }),
        metrics: None,
        limits: Limits::default(),
        tls: None,
    };
    Setup { service: Service::new(fake.gateway_in(region), hooks), fake, ready }
}

struct Seen {
    status: StatusCode,
    headers: http::HeaderMap,
    body: String,
    left: Left,
}

impl Setup {
    async fn send(&self, request: http::Request<Full<Bytes>>) -> Seen {
        let answer = self.service.answer(request).await;
        let (head, body) = answer.response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Seen { status: head.status, headers: head.headers, body, left: answer.left }
    }

    /// Signed by `user`; an empty one is nobody.
    async fn ask(&self, user: &str, method: &str, uri: &str, body: &str) -> Seen {
        self.ask_with(user, method, uri, body, &[]).await
    }

    async fn ask_with(&self, user: &str, method: &str, uri: &str, body: &str, more: &[(&'static str, &str)]) -> Seen {
        let region = self.service.0.gateway.settings().region.clone();
        self.ask_in(&region, user, method, uri, body, more).await
    }

    /// Signed for a region.
    async fn ask_in(
        &self,
        region: &str,
        user: &str,
        method: &str,
        uri: &str,
        body: &str,
        more: &[(&'static str, &str)],
    ) -> Seen {
        let method: Method = method.parse().unwrap();
        let mut headers = http::HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("localhost:9000"));
        for (name, value) in more {
            headers.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        if !user.is_empty() {
            let (raw_path, raw_query) = uri.split_once('?').unwrap_or((uri, ""));
            let (access_key, secret_key) = (format!("KEY{user}"), format!("secret of {user}"));
            let credentials = Credentials { access_key: &access_key, secret_key: &secret_key };
            let unsigned = Unsigned { method: &method, raw_path, raw_query, headers: &headers };
            let hash = payload_hash(body.as_bytes());
            headers.extend(sign_headers(&unsigned, &hash, credentials, &Rules::s3(region), now_ms()).unwrap());
        }
        let mut request = http::Request::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
        *request.method_mut() = method;
        *request.uri_mut() = uri.parse().unwrap();
        *request.headers_mut() = headers;
        self.send(request).await
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_says_who_answers() {
    let setup = setup();
    for (user, uri) in [("", "/"), ("anna", "/"), ("", "/_cairn/health/live"), ("anna", "/annas")] {
        let seen = setup.ask(user, "GET", uri, "").await;
        let id = seen.headers.get("x-amz-request-id").unwrap().to_str().unwrap().to_owned();
        assert_eq!(id.len(), 16, "{uri}");
        assert!(id.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()), "{id}");
        assert!(seen.headers.contains_key("x-amz-id-2"));
        assert_eq!(seen.headers.get("server").unwrap(), "Cairn");
        if seen.status.is_client_error() {
            assert!(seen.body.contains(&format!("<RequestId>{id}</RequestId>")), "{}", seen.body);
        }
    }
}

#[tokio::test]
async fn nothing_but_health_is_answered_without_a_signature() {
    let setup = setup();
    for (method, uri) in [
        ("GET", "/"),
        ("GET", "/annas"),
        ("HEAD", "/annas"),
        ("PUT", "/new"),
        ("DELETE", "/annas"),
        ("GET", "/annas/key"),
        ("PUT", "/annas/key"),
        ("POST", "/annas?delete"),
        ("OPTIONS", "/annas"),
        ("GET", "/_cairn/admin/v1/users"),
        ("POST", "/_cairn/admin/v1/users"),
        ("GET", "/_cairn/whatever"),
        ("GET", "/_cairn"),
        ("POST", "/_cairn/health/live"),
    ] {
        let seen = setup.ask("", method, uri, "").await;
        assert_eq!(seen.status, StatusCode::FORBIDDEN, "{method} {uri} {}", seen.body);
    }
    assert_eq!(setup.ask("", "GET", "/_cairn/health/live", "").await.status, StatusCode::OK);
    assert_eq!(setup.ask("", "GET", "/_cairn/health/ready", "").await.status, StatusCode::OK);
    // What was found out is a second old at most.
    let setup = self::setup();
    setup.ready.store(false, Ordering::Relaxed);
    assert_eq!(setup.ask("", "GET", "/_cairn/health/ready", "").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn what_is_cairns_own_is_not_in_the_way_of_a_buckets_keys() {
    let setup = setup();
    let host = [("host", "annas.localhost:9000")];
    let seen = setup.ask_with("", "GET", "/_cairn/health/live", "", &host).await;
    assert_eq!(seen.status, StatusCode::FORBIDDEN);
    assert!(seen.body.contains("<Resource>/annas/_cairn/health/live</Resource>"), "{}", seen.body);
    assert_eq!(setup.ask_with("anna", "HEAD", "/", "", &host).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_key_of_nobody_and_a_wrong_secret_are_told_apart() {
    let setup = setup();
    setup.fake.0.lock().users[1].secret_key = "another".to_owned();
    assert!(setup.ask("nobody", "GET", "/", "").await.body.contains("<Code>InvalidAccessKeyId</Code>"));
    assert!(setup.ask("anna", "GET", "/", "").await.body.contains("<Code>SignatureDoesNotMatch</Code>"));
}

#[tokio::test]
async fn an_error_of_a_head_has_no_body() {
    let setup = setup();
    let seen = setup.ask("anna", "HEAD", "/nothere", "").await;
    assert_eq!((seen.status, seen.body.as_str()), (StatusCode::NOT_FOUND, ""));
}

#[tokio::test]
async fn errors_name_code_resource_and_bucket() {
    let setup = setup();
    let seen = setup.ask("anna", "GET", "/nothere?location", "").await;
    assert_eq!(seen.headers.get("content-type").unwrap(), "application/xml");
    for part in ["<Code>NoSuchBucket</Code>", "<BucketName>nothere</BucketName>", "<Resource>/nothere</Resource>"] {
        assert!(seen.body.contains(part), "{}", seen.body);
    }
}

#[tokio::test]
async fn what_is_not_built_is_refused_after_the_signature_only() {
    let setup = setup();
    assert_eq!(setup.ask("", "GET", "/annas?lifecycle", "").await.status, StatusCode::FORBIDDEN);
    assert_eq!(setup.ask("anna", "GET", "/annas?lifecycle", "").await.status, StatusCode::NOT_IMPLEMENTED);
    let promise = [("x-amz-mfa", "x")];
    assert_eq!(setup.ask_with("anna", "PUT", "/new", "", &promise).await.status, StatusCode::NOT_IMPLEMENTED);
    assert_eq!(setup.ask("anna", "GET", "/new?location", "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_form_is_not_built_whoever_sends_it() {
    let setup = setup();
    let form = ("content-type", "multipart/form-data; boundary=x");
    for more in [&[form][..], &[form, ("host", "annas.localhost")]] {
        let uri = if more.len() == 1 { "/annas" } else { "/" };
        let seen = setup.ask_with("", "POST", uri, "--x--", more).await;
        assert_eq!(seen.status, StatusCode::NOT_IMPLEMENTED, "{}", seen.body);
        assert!(seen.body.contains("<Code>NotImplemented</Code>"), "{}", seen.body);
    }
    // Nothing else is told to who has not signed.
    for (method, uri) in [("PUT", "/annas"), ("POST", "/annas/key"), ("POST", "/")] {
        assert_eq!(setup.ask_with("", method, uri, "", &[form]).await.status, StatusCode::FORBIDDEN, "{method} {uri}");
    }
}

#[tokio::test]
async fn the_admin_api_takes_no_presigned_urls() {
    let setup = setup();
    let users = "/_cairn/admin/v1/users";
    assert_eq!(setup.ask("root", "GET", users, "").await.status, StatusCode::OK);
    for (path, expected) in [(users, StatusCode::FORBIDDEN), ("/annas", StatusCode::OK)] {
        let mut headers = http::HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("localhost:9000"));
        let unsigned = Unsigned { method: &Method::GET, raw_path: path, raw_query: "", headers: &headers };
        let credentials = Credentials { access_key: "KEYroot", secret_key: "secret of root" };
        let query = presign(&unsigned, credentials, &Rules::s3("us-east-1"), now_ms(), 60);
        let mut request = http::Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = format!("{path}?{query}").parse().unwrap();
        *request.headers_mut() = headers;
        let seen = setup.send(request).await;
        assert_eq!(seen.status, expected, "{}", seen.body);
    }
}

#[tokio::test]
async fn a_bucket_lives_from_its_creation_to_its_deletion() {
    let setup = setup();
    assert_eq!(setup.ask("ben", "HEAD", "/bens", "").await.status, StatusCode::NOT_FOUND);
    let created = setup.ask("ben", "PUT", "/bens", "").await;
    assert_eq!((created.status, created.headers.get("location").unwrap().as_bytes()), (StatusCode::OK, &b"/bens"[..]));
    let head = setup.ask("ben", "HEAD", "/bens", "").await;
    assert_eq!(head.headers.get("x-amz-bucket-region").unwrap(), "us-east-1");
    assert!(setup.ask("ben", "GET", "/", "").await.body.contains("<Name>bens</Name>"));
    assert!(!setup.ask("anna", "GET", "/", "").await.body.contains("<Name>bens</Name>"));
    let acl = setup.ask("ben", "GET", "/bens?acl", "").await.body;
    assert!(acl.contains("<Permission>FULL_CONTROL</Permission>") && acl.contains("ben's name"));
    let versioning = setup.ask("ben", "GET", "/bens?versioning", "").await.body;
    assert!(versioning.ends_with(
        "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"></VersioningConfiguration>"
    ));
    assert!(setup.ask("ben", "GET", "/bens?list-type=2", "").await.body.contains("<KeyCount>0</KeyCount>"));
    assert!(setup.ask("ben", "GET", "/bens?max-keys=0", "").await.body.contains("<IsTruncated>false</IsTruncated>"));
    assert_eq!(setup.ask("ben", "DELETE", "/bens", "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(setup.ask("ben", "DELETE", "/bens", "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(setup.ask("ben", "HEAD", "/bens", "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_name_that_is_taken_is_not_given_again() {
    let us = setup();
    assert_eq!(us.ask("anna", "PUT", "/annas", "").await.status, StatusCode::OK);
    assert!(us.ask("ben", "PUT", "/annas", "").await.body.contains("<Code>BucketAlreadyExists</Code>"));
    let eu = setup_in("eu-west-1");
    assert!(eu.ask("anna", "PUT", "/annas", "").await.body.contains("<Code>BucketAlreadyOwnedByYou</Code>"));
    assert!(us.ask("anna", "PUT", "/Bad_Name", "").await.body.contains("<Code>InvalidBucketName</Code>"));
}

#[tokio::test]
async fn where_nobody_chose_a_region_clients_may_name_any() {
    let fake = Fake::default();
    fake.add_user("anna", false);
    let hooks =
        Hooks { ready: Arc::new(|| Box::pin(async { true })), metrics: None, limits: Limits::default(), tls: None };
    let setup = Setup { service: Service::new(fake.gateway(), hooks), fake, ready: Arc::default() };
    let body =
        "<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    for (number, region) in ["auto", "garage", "eu-west-1"].into_iter().enumerate() {
        let bucket = format!("/bucket{number}");
        assert_eq!(setup.ask_in(region, "anna", "PUT", &bucket, body, &[]).await.status, StatusCode::OK, "{region}");
        let seen = setup.ask_in(region, "anna", "GET", &format!("{bucket}?location"), "", &[]).await;
        assert!(seen.body.contains("<LocationConstraint") && !seen.body.contains(region), "{}", seen.body);
        let head = setup.ask_in(region, "anna", "HEAD", &bucket, "", &[]).await;
        assert_eq!(head.headers.get("x-amz-bucket-region").unwrap(), "us-east-1");
    }
    let chosen = setup_in("eu-central-1");
    let seen = chosen.ask_in("eu-west-1", "anna", "GET", "/annas", "", &[]).await;
    assert!(seen.body.contains("<Code>AuthorizationHeaderMalformed</Code>"), "{}", seen.body);
    assert!(seen.body.contains("<Region>eu-central-1</Region>"), "{}", seen.body);
}

#[tokio::test]
async fn a_creation_that_was_cut_off_is_taken_up_again_by_its_owner() {
    let setup = setup();
    let id = setup.fake.0.lock().directory["annas"].id;
    {
        let mut state = setup.fake.0.lock();
        state.directory.get_mut("annas").unwrap().state = DirectoryState::Creating;
        state.buckets.remove(&id);
    }
    assert!(setup.ask("ben", "PUT", "/annas", "").await.body.contains("<Code>BucketAlreadyExists</Code>"));
    assert_eq!(setup.ask("anna", "PUT", "/annas", "").await.status, StatusCode::OK);
    let state = setup.fake.0.lock();
    assert_eq!((state.directory["annas"].id, state.directory["annas"].state), (id, DirectoryState::Active));
    assert!(state.buckets.contains_key(&id));
}

#[tokio::test]
async fn a_delete_that_was_cut_off_does_not_keep_the_name() {
    let setup = setup();
    let id = setup.fake.0.lock().directory["annas"].id;
    setup.fake.0.lock().buckets.remove(&id);
    assert_eq!(setup.ask("ben", "PUT", "/annas", "").await.status, StatusCode::OK);
    assert_ne!(setup.fake.0.lock().directory["annas"].id, id);
    assert_eq!(setup.ask("ben", "HEAD", "/annas", "").await.status, StatusCode::OK);
    assert_eq!(setup.ask("anna", "HEAD", "/annas", "").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_delete_that_was_cut_off_is_finished_by_the_next() {
    for user in ["anna", "root"] {
        let setup = setup();
        let id = setup.fake.0.lock().directory["annas"].id;
        setup.fake.0.lock().buckets.remove(&id);
        assert_eq!(setup.ask(user, "HEAD", "/annas", "").await.status, StatusCode::NOT_FOUND);
        assert_eq!(setup.ask("ben", "DELETE", "/annas", "").await.status, StatusCode::FORBIDDEN);
        assert_eq!(setup.ask(user, "DELETE", "/annas", "").await.status, StatusCode::NO_CONTENT);
        assert!(setup.fake.0.lock().directory.is_empty());
        assert_eq!(setup.ask(user, "DELETE", "/annas", "").await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_bucket_that_holds_objects_is_not_deleted() {
    let setup = setup();
    let id = setup.fake.0.lock().directory["annas"].id;
    setup.fake.0.lock().full.push(id);
    assert!(setup.ask("anna", "DELETE", "/annas", "").await.body.contains("<Code>BucketNotEmpty</Code>"));
}

#[tokio::test]
async fn an_expected_owner_has_to_be_the_owner() {
    let setup = setup();
    let anna = setup.fake.0.lock().users[1].id.to_string();
    let right = [("x-amz-expected-bucket-owner", anna.as_str())];
    assert_eq!(setup.ask_with("anna", "HEAD", "/annas", "", &right).await.status, StatusCode::OK);
    let wrong = [("x-amz-expected-bucket-owner", "123456789012")];
    assert_eq!(setup.ask_with("anna", "HEAD", "/annas", "", &wrong).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_expected_owner_of_the_source_has_to_be_the_owner() {
    let setup = setup();
    let [anna_id, ben_id] = [1, 2].map(|number| setup.fake.0.lock().users[number].id);
    let (anna, ben, nobody) = (anna_id.to_string(), ben_id.to_string(), String::new());
    for uri in ["/annas/copy", "/annas/copy?partNumber=1&uploadId=00000000000000000000000000000001"] {
        setup.fake.add_bucket("bens", ben_id);
        let copy = |source, owner| [("x-amz-copy-source", source), ("x-amz-source-expected-bucket-owner", owner)];
        for (source, owner) in [("bens/k", &anna), ("annas/k", &ben), ("annas/k", &nobody)] {
            let seen = setup.ask_with("root", "PUT", uri, "", &copy(source, owner)).await;
            assert!(seen.body.contains("<Code>AccessDenied</Code>"), "{source} {}", seen.body);
        }
        // The cluster in memory knows no objects; that is asked after the owner.
        let seen = setup.ask_with("root", "PUT", uri, "", &copy("bens/k", &ben)).await;
        assert!(seen.body.contains("<Code>InternalError</Code>"), "{}", seen.body);
        // Made anew by somebody else behind this gateway's back.
        setup.fake.add_bucket("bens", anna_id);
        let seen = setup.ask_with("root", "PUT", uri, "", &copy("bens/k", &ben)).await;
        assert!(seen.body.contains("<Code>AccessDenied</Code>"), "{}", seen.body);
    }
    let alone = [("x-amz-source-expected-bucket-owner", ben.as_str())];
    assert_eq!(setup.ask_with("root", "PUT", "/annas/k", "", &alone).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_document_is_not_asked_for_before_its_sender_may_send_it() {
    let setup = setup();
    let upload = "/annas/k?uploadId=00000000000000000000000000000001";
    for (user, uri) in [("ben", "/annas?delete"), ("ben", upload), ("anna", "/nothere?delete"), ("anna", upload)] {
        let expects = [("expect", "100-continue")];
        let seen = setup.ask_with(user, "POST", uri, "<Delete></Delete>", &expects).await;
        assert!(!seen.status.is_success(), "{user} {uri}");
        assert_eq!(seen.left, Left::NotBegun, "{user} {uri} {}", seen.body);
    }
}

#[tokio::test]
async fn a_body_that_is_not_what_was_signed_changes_nothing() {
    let setup = setup();
    let digest = [("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")];
    let body = "<CreateBucketConfiguration></CreateBucketConfiguration>";
    let seen = setup.ask_with("ben", "PUT", "/bens", body, &digest).await;
    assert!(seen.body.contains("<Code>BadDigest</Code>"), "{}", seen.body);
    let long = " ".repeat(100 << 10);
    let seen = setup.ask("ben", "PUT", "/bens", &long).await;
    assert!(seen.body.contains("<Code>MaxMessageLengthExceeded</Code>"), "{}", seen.body);
    assert_eq!(seen.left, Left::Finished, "what was left of the body is drained");
    assert_eq!(setup.ask("ben", "HEAD", "/bens", "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn deleting_a_version_that_is_not_there_deletes_nothing() {
    let setup = setup();
    // The cluster in memory would refuse any command on objects.
    assert_eq!(setup.ask("anna", "DELETE", "/annas/k?versionId=abc", "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(setup.ask("anna", "DELETE", "/annas/k?versionId=", "").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(setup.ask("anna", "DELETE", "/nothere/k?versionId=abc", "").await.status, StatusCode::NOT_FOUND);
    assert!(!setup.ask("anna", "DELETE", "/annas/k?versionId=null", "").await.status.is_success());
}

#[tokio::test]
async fn the_admin_api_is_roots() {
    let setup = setup();
    let users = "/_cairn/admin/v1/users";
    let denied = setup.ask("anna", "GET", users, "").await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);
    assert!(denied.body.starts_with("{\"code\":\"AccessDenied\""), "{}", denied.body);

    let added = setup.ask("root", "POST", users, "{\"name\":\"cleo\"}").await;
    assert_eq!(added.status, StatusCode::OK);
    let added: serde_json::Value = serde_json::from_str(&added.body).unwrap();
    assert_eq!((added["name"].as_str(), added["user_id"].as_str().unwrap().len()), (Some("cleo"), 32));
    assert_eq!(setup.ask("root", "POST", users, "{\"name\":\"cleo\"}").await.status, StatusCode::CONFLICT);
    assert_eq!(setup.ask("root", "POST", users, "nonsense").await.status, StatusCode::BAD_REQUEST);

    let listed = setup.ask("root", "GET", users, "").await.body;
    assert!(listed.contains("\"cleo\"") && !listed.contains(added["secret_key"].as_str().unwrap()));
    assert_eq!(setup.ask("root", "DELETE", &format!("{users}/cleo"), "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(setup.ask("root", "DELETE", &format!("{users}/cleo"), "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(setup.ask("root", "GET", "/_cairn/other", "").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_panic_is_an_internal_error_of_its_request_alone() {
    let fake = Fake::default();
    let hooks = Hooks { ready: Arc::new(|| panic!("on purpose")), metrics: None, limits: Limits::default(), tls: None };
    let setup = Setup { service: Service::new(fake.gateway(), hooks), fake, ready: Arc::default() };
    assert_eq!(setup.ask("", "GET", "/_cairn/health/ready", "").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(setup.ask("", "GET", "/_cairn/health/live", "").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn copies_and_completes_that_take_long_answer_early_and_fail_in_the_body() {
    let setup = setup();
    let copy: &[(&'static str, &str)] = &[("x-amz-copy-source", "annas/k")];
    let complete =
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>";
    let upload = "uploadId=00000000000000000000000000000001";
    for (method, uri, headers, body) in [
        ("PUT", "/annas/copy".to_owned(), copy, ""),
        ("PUT", format!("/annas/copy?partNumber=1&{upload}"), copy, ""),
        ("POST", format!("/annas/copy?{upload}"), &[], complete),
    ] {
        // The cluster in memory knows no objects, after a while.
        setup.fake.0.lock().delay = std::time::Duration::from_secs(1);
        let seen = setup.ask_with("anna", method, &uri, body, headers).await;
        assert_eq!(seen.status, StatusCode::INTERNAL_SERVER_ERROR, "{uri}");
        setup.fake.0.lock().delay = std::time::Duration::from_secs(20);
        let seen = setup.ask_with("anna", method, &uri, body, headers).await;
        assert_eq!(seen.status, StatusCode::OK, "{uri}");
        assert_eq!(seen.headers.get("content-type").unwrap(), "application/xml");
        let id = seen.headers.get("x-amz-request-id").unwrap().to_str().unwrap();
        let (prolog, rest) = seen.body.split_at(xml::PROLOG.len());
        assert_eq!(prolog, xml::PROLOG);
        let document = rest.trim_start_matches(' ');
        assert!(document.len() < rest.len(), "{uri} {}", seen.body);
        assert!(document.starts_with("<Error><Code>InternalError</Code>"), "{uri} {}", seen.body);
        assert!(rest.contains(&format!("<RequestId>{id}</RequestId>")), "{}", seen.body);
        if method == "PUT" {
            assert_eq!(seen.left, Left::Finished, "the connection goes on");
        }
    }
}
