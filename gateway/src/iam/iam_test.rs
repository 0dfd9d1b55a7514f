use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use cairn_storage::meta::record::UserRecord;
use cairn_storage::types::{UserId, now_ms};
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::BodyExt;

use super::*;
use crate::auth::Rules;
use crate::auth::sign::{Credentials, Unsigned, payload_hash, presign, sign_headers, uri_encode};
use crate::gate::Pass;
use crate::middleware::Service;
use crate::ops::cluster::Cluster;
use crate::server::{Hooks, Limits};

type Keys = (String, String);

/// The user `ann` of the cluster, and root.
struct World {
    cluster: Cluster,
    service: Service,
    ann: Keys,
    root: Keys,
}

/// The status of an answer, and its body.
type Seen = (u16, String);

fn keys(access_key: &str, secret_key: &str) -> Keys {
    (access_key.to_owned(), secret_key.to_owned())
}

async fn world() -> World {
    let cluster = Cluster::new().await;
    let user = UserRecord {
        id: UserId::random(),
        name: "root".into(),
        display_name: "Root".into(),
        access_key: "RK".into(),
        secret_key: "RS".into(),
        root: true,
        created_ms: 0,
    };
    let gateway = &cluster.gateway;
    gateway.root_command(Pass::TEST, RootCommand::SetRootUser { user }).await.unwrap().unwrap();
    gateway.forget_users().await;
    let hooks =
        Hooks { ready: Arc::new(|| Box::pin(async { true })), metrics: None, limits: Limits::default(), tls: None };
    let service = Service::new(gateway.clone(), hooks);
    World { service, cluster, ann: keys("AK", "SK"), root: keys("RK", "RS") }
}

fn rules(service: &str, form: &str) -> Rules {
    let assumed_body_hash = Some(payload_hash(form.as_bytes()));
    Rules { service: service.to_owned(), assumed_body_hash, ..Rules::s3("eu-west-7") }
}

fn head() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("localhost:9000"));
    let form = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
    headers.insert("content-type", form);
    headers
}

fn signed(by: &Keys, rules: &Rules, form: &str) -> HeaderMap {
    let mut headers = head();
    let credentials = Credentials { access_key: &by.0, secret_key: &by.1 };
    let unsigned = Unsigned { method: &Method::POST, raw_path: "/", raw_query: "", headers: &headers };
    headers.extend(sign_headers(&unsigned, &payload_hash(form.as_bytes()), credentials, rules, now_ms()).unwrap());
    headers
}

fn form(action: &str, version: &str, parameters: &[(&str, &str)]) -> String {
    let mut form = format!("Action={action}&Version={version}");
    for (name, value) in parameters {
        form.push_str(&format!("&{name}={}", uri_encode(value)));
    }
    form
}

/// A policy of an identity.
fn policy(effect: &str, action: &str, resource: &str) -> String {
    let statement = format!(r#"{{"Effect":"{effect}","Action":"{action}","Resource":"{resource}"}}"#);
    format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#)
}

/// The text of the first element of a name.
fn element<'a>(body: &'a str, name: &str) -> &'a str {
    let rest = body.split_once(&format!("<{name}>")).map_or("", |(_, rest)| rest);
    rest.split_once(&format!("</{name}>")).map_or("", |(text, _)| text)
}

impl World {
    async fn send(&self, headers: HeaderMap, uri: &str, body: Body) -> Seen {
        let mut request = http::Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.parse().unwrap();
        *request.headers_mut() = headers;
        let (head, body) = self.service.answer(request).await.response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    }

    async fn iam(&self, by: &Keys, action: &str, parameters: &[(&str, &str)]) -> Seen {
        let form = form(action, "2010-05-08", parameters);
        self.send(signed(by, &rules("iam", &form), &form), "/", Body::from(form)).await
    }

    async fn sts(&self, by: &Keys, action: &str) -> Seen {
        let form = form(action, "2011-06-15", &[]);
        self.send(signed(by, &rules("sts", &form), &form), "/", Body::from(form)).await
    }

    /// By root, who may.
    async fn ok(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        let (status, body) = self.iam(&self.root, action, parameters).await;
        assert_eq!(status, 200, "{action} {parameters:?} {body}");
        let start = format!("<{action}Response xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">");
        assert!(body.contains(&start) && body.contains("<ResponseMetadata><RequestId>"), "{body}");
        body
    }

    /// The status and the code of what must fail.
    async fn fail(&self, by: &Keys, action: &str, parameters: &[(&str, &str)]) -> (u16, String) {
        let (status, body) = self.iam(by, action, parameters).await;
        let kind = if status < 500 { "Sender" } else { "Receiver" };
        assert!(body.contains("<ErrorResponse xmlns=") && element(&body, "Type") == kind, "{action} {body}");
        (status, element(&body, "Code").to_owned())
    }

    async fn new_key(&self, by: &Keys, parameters: &[(&str, &str)]) -> Keys {
        let (status, body) = self.iam(by, "CreateAccessKey", parameters).await;
        assert_eq!(status, 200, "{body}");
        keys(element(&body, "AccessKeyId"), element(&body, "SecretAccessKey"))
    }
}

fn code(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn an_action_is_there_or_not_built_or_none_at_all() {
    let said = |form: &str| find(&IAM, form).map(|call| call.name()).map_err(|error| error.code);
    assert_eq!(said("Action=GetUser&Version=2010-05-08"), Ok("GetUser"));
    assert_eq!(said("Action=GetUser&Version=2010-05-08&UserName=a%2Bb"), Ok("GetUser"));
    assert_eq!(said("Action=GetUser&Version=2011-06-15"), Err(Code::InvalidAction));
    assert_eq!(said("Action=GetCallerIdentity&Version=2010-05-08"), Err(Code::InvalidAction));
    assert_eq!(said("Action=Get&Version=2010-05-08"), Err(Code::InvalidAction));
    assert_eq!(said(""), Err(Code::InvalidAction));
    assert_eq!(said("Action=CreateRole&Version=2010-05-08"), Err(Code::NotImplemented));
    // A boundary that is not heeded must not be taken for one that holds.
    let boundary = "Action=CreateUser&Version=2010-05-08&UserName=a&PermissionsBoundary=arn";
    assert_eq!(said(boundary), Err(Code::NotImplemented));
    assert_eq!(said("Action=CreateUser&Version=2010-05-08&Tags.member.1.Key=a"), Err(Code::NotImplemented));
    assert_eq!(said("Action=GetUser&Version=2010-05-08&UserName=a&UserName=b"), Err(Code::ValidationError));
    assert_eq!(said("Action=GetUser&Version=2010-05-08&UserName=%ff"), Err(Code::ValidationError));
    assert!(ROWS.iter().all(|row| !UNBUILT.contains(&row.name)));
}

#[tokio::test]
async fn a_caller_learns_who_it_is_and_is_told_nothing_else_without_a_policy() {
    let world = world().await;
    let (status, body) = world.sts(&world.ann, "GetCallerIdentity").await;
    assert_eq!((status, element(&body, "Arn")), (200, "arn:aws:iam::000000000000:user/ann"), "{body}");
    assert_eq!(element(&body, "UserId"), world.cluster.caller.id.to_string());
    assert!(body.contains("https://sts.amazonaws.com/doc/2011-06-15/"), "{body}");
    let (_, body) = world.sts(&world.root, "GetCallerIdentity").await;
    assert_eq!(element(&body, "Arn"), "arn:aws:iam::000000000000:root");
    assert_eq!(element(&body, "UserId"), "000000000000");
    assert_eq!(world.sts(&world.ann, "AssumeRole").await.0, 501);
    assert_eq!(world.sts(&world.ann, "GetUser").await.0, 400);
    for row in ROWS.iter().filter(|row| *row.api == IAM) {
        let parameters = [
            ("UserName", "ann"),
            ("GroupName", "g"),
            ("PolicyName", "p"),
            ("PolicyArn", "arn:aws:iam::aws:policy/readonly"),
            ("PolicySourceArn", "arn:aws:iam::000000000000:user/ann"),
        ];
        let taken: Vec<_> = parameters.into_iter().filter(|(name, _)| row.takes.contains(name)).collect();
        assert_eq!(world.fail(&world.ann, row.name, &taken).await, code(403, "AccessDenied"), "{}", row.name);
    }
}

#[tokio::test]
async fn a_signature_is_for_one_service_and_one_form() {
    let world = world().await;
    let form = form("GetUser", "2010-05-08", &[]);
    let by = |rules: &Rules| signed(&world.root, rules, &form);
    let body = || Body::from(form.clone());
    let told = |(status, body): Seen| (status, element(&body, "Code").to_owned());
    assert_eq!(world.send(by(&rules("iam", &form)), "/", body()).await.0, 200);
    // With the hash in its header, too.
    let with_header = Rules { assumed_body_hash: None, ..rules("iam", &form) };
    assert_eq!(world.send(by(&with_header), "/", body()).await.0, 200);
    let mismatch = code(403, "SignatureDoesNotMatch");
    for headers in [by(&Rules::s3("us-east-1")), by(&rules("s3", &form)), by(&rules("ec2", &form))] {
        assert_eq!(told(world.send(headers, "/", body()).await), mismatch);
    }
    assert_eq!(told(world.send(by(&rules("sts", &form)), "/", body()).await), code(400, "InvalidAction"));
    for headers in [by(&rules("iam", &form)), by(&with_header)] {
        let other = Body::from(form.replace("GetUser", "ListUsers"));
        assert_eq!(told(world.send(headers, "/", other).await), mismatch);
    }
    let mut unsigned_body = head();
    unsigned_body.insert("x-amz-content-sha256", HeaderValue::from_static("UNSIGNED-PAYLOAD"));
    let unsigned = Unsigned { method: &Method::POST, raw_path: "/", raw_query: "", headers: &unsigned_body };
    let root = Credentials { access_key: &world.root.0, secret_key: &world.root.1 };
    let more = sign_headers(&unsigned, "UNSIGNED-PAYLOAD", root, &with_header, now_ms()).unwrap();
    unsigned_body.extend(more);
    assert_eq!(told(world.send(unsigned_body, "/", body()).await), mismatch);
    // A URL is handed on.
    let headers = head();
    let unsigned = Unsigned { method: &Method::POST, raw_path: "/", raw_query: "", headers: &headers };
    let url = format!("/?{}", presign(&unsigned, root, &rules("iam", &form), now_ms(), 60));
    assert_eq!(told(world.send(headers.clone(), &url, body()).await), code(400, "ValidationError"));
    assert_eq!(told(world.send(headers, "/", body()).await), code(403, "MissingAuthenticationToken"));
    let wrong = signed(&keys("RK", "no"), &rules("iam", &form), &form);
    assert_eq!(told(world.send(wrong, "/", body()).await), mismatch);
}

#[tokio::test]
async fn who_names_no_key_that_there_is_is_asked_for_no_form() {
    let world = world().await;
    let form = form("GetUser", "2010-05-08", &[]);
    for mut headers in [head(), signed(&keys("NOBODY", "x"), &rules("iam", &form), &form)] {
        headers.insert("content-length", HeaderValue::from_static("1000"));
        headers.insert("expect", HeaderValue::from_static("100-continue"));
        let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(world.send(headers, "/", never).await.0, 403);
    }
}

#[tokio::test]
async fn a_form_has_a_bound() {
    let world = world().await;
    let long = "x".repeat(300 << 10);
    assert_eq!(world.fail(&world.root, "GetUser", &[("UserName", &long)]).await, code(400, "ValidationError"));
    assert_eq!(world.fail(&world.root, "GetUser", &[("UserName", &long[..200])]).await, code(400, "ValidationError"));
}

#[tokio::test]
async fn a_user_who_is_made_here_has_no_key_until_one_is_made() {
    let world = world().await;
    let bea = [("UserName", "bea")];
    let made = world.ok("CreateUser", &[bea[0], ("Path", "/")]).await;
    assert_eq!(element(&made, "Arn"), "arn:aws:iam::000000000000:user/bea");
    assert_eq!(world.fail(&world.root, "CreateUser", &bea).await, code(409, "EntityAlreadyExists"));
    assert_eq!(world.fail(&world.root, "CreateUser", &[("UserName", "a b")]).await, code(400, "ValidationError"));
    let elsewhere = [("UserName", "cy"), ("Path", "/team/")];
    assert_eq!(world.fail(&world.root, "CreateUser", &elsewhere).await, code(501, "NotImplemented"));
    assert!(!world.ok("ListAccessKeys", &bea).await.contains("<member>"));
    let table = identities::table(&world.cluster.gateway, Pass::TEST).await.unwrap();
    let record = table.users.iter().find(|user| user.name == "bea").unwrap();
    let in_place = keys(&record.access_key, &record.secret_key);
    assert!(in_place.0.contains(' '), "no request can name it");
    assert_ne!(world.sts(&in_place, "GetCallerIdentity").await.0, 200);

    let key = world.new_key(&world.root, &bea).await;
    assert_eq!(world.sts(&key, "GetCallerIdentity").await.0, 200);
    let listed = world.ok("ListAccessKeys", &bea).await;
    assert!(listed.contains(&key.0) && !listed.contains(&key.1) && element(&listed, "Status") == "Active");
    assert_eq!(world.fail(&world.root, "DeleteUser", &bea).await, code(409, "DeleteConflict"));
    let named = [bea[0], ("AccessKeyId", key.0.as_str())];
    world.ok("UpdateAccessKey", &[named[0], named[1], ("Status", "Inactive")]).await;
    assert_eq!(element(&world.ok("ListAccessKeys", &bea).await, "Status"), "Inactive");
    let (status, body) = world.sts(&key, "GetCallerIdentity").await;
    assert_eq!((status, element(&body, "Code")), (403, "InvalidClientTokenId"));
    let of_another = [("UserName", "ann"), ("AccessKeyId", key.0.as_str())];
    assert_eq!(world.fail(&world.root, "DeleteAccessKey", &of_another).await, code(404, "NoSuchEntity"));
    world.ok("DeleteAccessKey", &named).await;
    assert!(!world.ok("ListMFADevices", &bea).await.contains("<member>"));
    assert_eq!(world.fail(&world.root, "GetLoginProfile", &bea).await, code(404, "NoSuchEntity"));
    world.ok("DeleteUser", &bea).await;
    assert_eq!(world.fail(&world.root, "GetUser", &bea).await, code(404, "NoSuchEntity"));
}

#[tokio::test]
async fn a_first_key_goes_with_its_user_and_a_user_with_buckets_stays() {
    let world = world().await;
    let ann = [("UserName", "ann"), ("AccessKeyId", "AK")];
    assert_eq!(element(&world.ok("ListAccessKeys", &ann[..1]).await, "AccessKeyId"), "AK");
    assert_eq!(world.fail(&world.root, "DeleteAccessKey", &ann).await, code(400, "UnmodifiableEntity"));
    assert_eq!(world.fail(&world.root, "DeleteUser", &ann[..1]).await, code(409, "DeleteConflict"), "it has a bucket");
}

#[tokio::test]
async fn nobody_but_root_itself_finds_roots_keys() {
    let world = world().await;
    let policy = policy("Allow", "iam:*", "*");
    let inline = [("UserName", "ann"), ("PolicyName", "all"), ("PolicyDocument", policy.as_str())];
    world.ok("PutUserPolicy", &inline).await;
    let further = world.new_key(&world.root, &[]).await;
    let root = [("UserName", "root"), ("AccessKeyId", further.0.as_str()), ("Status", "Inactive")];
    for by in [&world.ann, &world.root] {
        for (action, parameters) in [
            ("GetUser", &root[..1]),
            ("ListAccessKeys", &root[..1]),
            ("CreateAccessKey", &root[..1]),
            ("DeleteAccessKey", &root[..2]),
            ("UpdateAccessKey", &root[..]),
            ("DeleteUser", &root[..1]),
        ] {
            assert_eq!(world.fail(by, action, parameters).await, code(404, "NoSuchEntity"), "{action}");
        }
    }
    let unnamed = [("AccessKeyId", further.0.as_str())];
    assert_eq!(world.fail(&world.ann, "DeleteAccessKey", &unnamed).await, code(404, "NoSuchEntity"));
    let listed = world.iam(&world.ann, "ListUsers", &[]).await.1;
    assert!(listed.contains("<UserName>ann</UserName>") && !listed.contains("root<"), "{listed}");
    assert!(world.ok("GetUser", &[]).await.contains("<Arn>arn:aws:iam::000000000000:root</Arn>"));
    world.ok("DeleteAccessKey", &unnamed).await;
}

#[tokio::test]
async fn policies_say_who_may_and_a_deny_wins() {
    let world = world().await;
    let may = async |action: &str, name: &str| world.iam(&world.ann, action, &[("UserName", name)]).await.0;
    let put = async |name: &str, text: &str| {
        let inline = [("UserName", "ann"), ("PolicyName", name), ("PolicyDocument", text)];
        world.ok("PutUserPolicy", &inline).await;
    };
    world.ok("CreateUser", &[("UserName", "bea")]).await;
    put("one", &policy("Allow", "iam:GetUser", "arn:aws:iam::000000000000:user/${aws:username}")).await;
    assert_eq!((may("GetUser", "ann").await, may("GetUser", "bea").await), (200, 403));
    assert_eq!(world.iam(&world.ann, "GetUser", &[]).await.0, 200, "the caller itself");
    assert_eq!(may("ListAccessKeys", "ann").await, 403);
    put("two", &policy("Allow", "iam:*", "*")).await;
    assert_eq!((may("GetUser", "bea").await, may("ListAccessKeys", "ann").await), (200, 200));
    put("three", &policy("Deny", "iam:List*", "*")).await;
    assert_eq!((may("GetUser", "bea").await, may("ListAccessKeys", "ann").await), (200, 403));
    let said = async |action: &str| {
        let asked = [("PolicySourceArn", "arn:aws:iam::000000000000:user/ann"), ("ActionNames.member.1", action)];
        element(&world.ok("SimulatePrincipalPolicy", &asked).await, "EvalDecision").to_owned()
    };
    assert_eq!(said("iam:GetUser").await, "allowed");
    assert_eq!(said("iam:ListUsers").await, "explicitDeny");
    assert_eq!(said("s3:GetObject").await, "implicitDeny");
}

#[tokio::test]
async fn a_narrowed_key_of_root_is_no_administrator_and_one_of_a_user_is_narrowed() {
    let world = world().await;
    let text = policy("Allow", "iam:*", "*");
    world.ok("PutUserPolicy", &[("UserName", "ann"), ("PolicyName", "all"), ("PolicyDocument", &text)]).await;
    let table = identities::table(&world.cluster.gateway, Pass::TEST).await.unwrap();
    for (name, narrowing, status) in [
        ("root", policy("Allow", "*", "*"), 403),
        ("ann", policy("Allow", "iam:Get*", "*"), 200),
        ("ann", policy("Allow", "s3:*", "*"), 403),
    ] {
        let user = table.users.iter().find(|user| user.name == name).unwrap().id;
        let (access_key, secret_key) = crate::admin::new_keys();
        let key = cairn_storage::meta::record::AccessKey {
            access_key: access_key.clone(),
            secret_key: secret_key.clone(),
            user,
            description: String::new(),
            created_ms: 0,
            disabled: false,
            expires_ms: None,
            policy: Some(narrowing),
        };
        identities::change(&world.cluster.gateway, Pass::TEST, RootCommand::AddKey { key }).await.unwrap();
        let by = (access_key, secret_key);
        assert_eq!(world.iam(&by, "GetUser", &[]).await.0, status, "{name}");
        assert_eq!(world.iam(&by, "ListUsers", &[]).await.0, 403, "{name}");
        assert_eq!(world.sts(&by, "GetCallerIdentity").await.0, 200, "{name}");
    }
}

#[tokio::test]
async fn policies_are_made_attached_and_removed() {
    let world = world().await;
    let (first, second) = (policy("Allow", "s3:GetObject", "*"), policy("Allow", "s3:*", "*"));
    let arn = "arn:aws:iam::000000000000:policy/p";
    let named = [("PolicyArn", arn)];
    let new = [("PolicyName", "p"), ("PolicyDocument", first.as_str())];
    assert_eq!(element(&world.ok("CreatePolicy", &new).await, "Arn"), arn);
    assert_eq!(world.fail(&world.root, "CreatePolicy", &new).await, code(409, "EntityAlreadyExists"));
    for (name, text, expected) in [
        ("readonly", first.as_str(), code(409, "EntityAlreadyExists")),
        ("q", "{", code(400, "MalformedPolicyDocument")),
        ("q/r", first.as_str(), code(400, "ValidationError")),
    ] {
        let new = [("PolicyName", name), ("PolicyDocument", text)];
        assert_eq!(world.fail(&world.root, "CreatePolicy", &new).await, expected, "{name}");
    }
    let version = [named[0], ("VersionId", "v1")];
    assert_eq!(element(&world.ok("GetPolicyVersion", &version).await, "Document"), uri_encode(&first));
    let other = [named[0], ("VersionId", "v2")];
    assert_eq!(world.fail(&world.root, "GetPolicyVersion", &other).await, code(404, "NoSuchEntity"));
    let set = [named[0], ("PolicyDocument", second.as_str()), ("SetAsDefault", "true")];
    world.ok("CreatePolicyVersion", &set).await;
    assert_eq!(world.fail(&world.root, "CreatePolicyVersion", &set[..2]).await, code(501, "NotImplemented"));
    assert_eq!(element(&world.ok("GetPolicyVersion", &version).await, "Document"), uri_encode(&second));
    assert_eq!(world.ok("ListPolicyVersions", &named).await.matches("<VersionId>v1<").count(), 1);

    let readonly = "arn:aws:iam::aws:policy/readonly";
    let ann = ("UserName", "ann");
    for arn in [arn, readonly] {
        world.ok("AttachUserPolicy", &[ann, ("PolicyArn", arn)]).await;
    }
    for wrong in ["arn:aws:iam::000000000000:policy/readonly", "arn:aws:iam::aws:policy/p", "arn:aws:iam::aws:policy/x"]
    {
        let wrong = [ann, ("PolicyArn", wrong)];
        assert_eq!(world.fail(&world.root, "AttachUserPolicy", &wrong).await, code(404, "NoSuchEntity"));
    }
    let attached = world.ok("ListAttachedUserPolicies", &[ann]).await;
    assert!(attached.contains(arn) && attached.contains(readonly), "{attached}");
    assert_eq!(element(&world.ok("GetPolicy", &named).await, "AttachmentCount"), "1");
    let local = world.ok("ListPolicies", &[("Scope", "Local")]).await;
    assert_eq!((local.matches("<member>").count(), element(&local, "PolicyName")), (1, "p"));
    let used = world.ok("ListPolicies", &[("OnlyAttached", "true")]).await;
    assert_eq!(used.matches("<member>").count(), 2);
    assert_eq!(world.fail(&world.root, "DeletePolicy", &named).await, code(409, "DeleteConflict"));
    let builtin = [("PolicyArn", readonly)];
    assert_eq!(world.fail(&world.root, "DeletePolicy", &builtin).await, code(400, "UnmodifiableEntity"));
    let attached = [ann, named[0]];
    world.ok("DetachUserPolicy", &attached).await;
    assert_eq!(world.fail(&world.root, "DetachUserPolicy", &attached).await, code(404, "NoSuchEntity"));
    world.ok("DeletePolicy", &named).await;
    assert_eq!(world.fail(&world.root, "GetPolicy", &named).await, code(404, "NoSuchEntity"));
    let not_an_arn = [("PolicyArn", "p")];
    assert_eq!(world.fail(&world.root, "GetPolicy", &not_an_arn).await, code(400, "ValidationError"));
}

#[tokio::test]
async fn groups_have_members_and_policies() {
    let world = world().await;
    let (staff, ann) = (("GroupName", "staff"), ("UserName", "ann"));
    let text = policy("Allow", "iam:ListGroupsForUser", "*");
    let inline = [staff, ("PolicyName", "own"), ("PolicyDocument", text.as_str())];
    assert_eq!(world.fail(&world.root, "PutGroupPolicy", &inline).await, code(404, "NoSuchEntity"));
    let made = world.ok("CreateGroup", &[staff]).await;
    assert_eq!(element(&made, "Arn"), "arn:aws:iam::000000000000:group/staff");
    assert_eq!(world.fail(&world.root, "CreateGroup", &[staff]).await, code(409, "EntityAlreadyExists"));
    world.ok("PutGroupPolicy", &inline).await;
    world.ok("AttachGroupPolicy", &[staff, ("PolicyArn", "arn:aws:iam::aws:policy/readonly")]).await;
    assert_eq!(world.iam(&world.ann, "ListGroupsForUser", &[ann]).await.0, 403);
    world.ok("AddUserToGroup", &[staff, ann]).await;
    let (status, body) = world.iam(&world.ann, "ListGroupsForUser", &[ann]).await;
    assert_eq!((status, element(&body, "GroupName")), (200, "staff"));
    assert_eq!(element(&world.ok("GetGroup", &[staff]).await, "UserName"), "ann");
    assert_eq!(element(&world.ok("ListGroups", &[]).await, "GroupName"), "staff");
    assert!(world.ok("ListGroupPolicies", &[staff]).await.contains("<member>own</member>"));
    let own = world.ok("GetGroupPolicy", &inline[..2]).await;
    assert_eq!((element(&own, "GroupName"), element(&own, "PolicyDocument")), ("staff", &*uri_encode(&text)));
    assert_eq!(world.fail(&world.root, "DeleteGroup", &[staff]).await, code(409, "DeleteConflict"));
    world.ok("RemoveUserFromGroup", &[staff, ann]).await;
    assert_eq!(world.fail(&world.root, "RemoveUserFromGroup", &[staff, ann]).await, code(404, "NoSuchEntity"));
    world.ok("DeleteGroupPolicy", &inline[..2]).await;
    assert_eq!(world.fail(&world.root, "DeleteGroupPolicy", &inline[..2]).await, code(404, "NoSuchEntity"));
    world.ok("DetachGroupPolicy", &[staff, ("PolicyArn", "arn:aws:iam::aws:policy/readonly")]).await;
    assert!(!world.ok("ListAttachedGroupPolicies", &[staff]).await.contains("<member>"));
    world.ok("DeleteGroup", &[staff]).await;
    let missing = [staff, ("UserName", "root")];
    assert_eq!(world.fail(&world.root, "AddUserToGroup", &missing).await, code(404, "NoSuchEntity"));
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = world().await;
    let names = ["a", "b", "c", "d"];
    for name in names {
        world.ok("CreateGroup", &[("GroupName", name)]).await;
    }
    let (mut seen, mut marker) = (Vec::new(), String::new());
    loop {
        let page = world.ok("ListGroups", &[("MaxItems", "3"), ("Marker", &marker)]).await;
        seen.extend(page.split("<GroupName>").skip(1).map(|rest| rest[..1].to_owned()));
        marker = element(&page, "Marker").to_owned();
        assert_eq!(element(&page, "IsTruncated") == "true", !marker.is_empty());
        if marker.is_empty() {
            break;
        }
    }
    assert_eq!(seen, names);
    assert!(!world.ok("ListGroups", &[("PathPrefix", "/team/")]).await.contains("<member>"));
    for wrong in ["0", "1001", "x"] {
        let wrong = [("MaxItems", wrong)];
        assert_eq!(world.fail(&world.root, "ListGroups", &wrong).await, code(400, "ValidationError"));
    }
}

/// A gateway may know a key for a moment, or for longer where the root group is silent, after it was taken away.
#[test]
fn a_key_that_is_no_more_changes_nothing_whatever_a_gateway_remembers() {
    use cairn_storage::meta::record::{AccessKey, UserRecord, UserRights};
    let id = cairn_storage::types::UserId([7; 16]);
    let text = |text: &str| text.to_owned();
    let user = UserRecord {
        id,
        name: text("ann"),
        display_name: String::new(),
        access_key: text("FIRST"),
        secret_key: String::new(),
        root: false,
        created_ms: 0,
    };
    let key = |name: &str, disabled, expires_ms| AccessKey {
        access_key: text(name),
        secret_key: String::new(),
        user: id,
        description: String::new(),
        created_ms: 0,
        disabled,
        expires_ms,
        policy: None,
    };
    let caller = crate::gate::Identity::from(&user);
    let keys = vec![key("GOOD", false, None), key("OFF", true, None), key("PAST", false, Some(1))];
    let mut table = UserTable { users: vec![user], keys, ..UserTable::default() };
    let holds = |table: &UserTable, key: &str| ask::as_it_is(table, &caller, key).is_some();
    assert!(holds(&table, "FIRST") && holds(&table, "GOOD"));
    for gone in ["OFF", "PAST", "REMOVED"] {
        assert!(!holds(&table, gone), "{gone}");
    }
    table.rights = vec![(id, UserRights { disabled: true, ..UserRights::default() })];
    assert!(!holds(&table, "FIRST") && !holds(&table, "GOOD"));
}
