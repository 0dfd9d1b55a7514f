"""IAM and STS, by boto3 and the aws CLI: users, groups, keys and policies through the S3 port."""

import json
import uuid

import boto3
import botocore.config
import pytest
import requests

from conftest import REGION, Keys
from expect import error
from tools import run

ACCOUNT = "000000000000"


def client_of(service, name, keys):
    return boto3.client(
        name,
        endpoint_url=service.url,
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key,
        region_name=REGION,
        config=botocore.config.Config(retries={"max_attempts": 1, "mode": "standard"}),
    )


def unique(name):
    return f"{name}-{uuid.uuid4().hex[:8]}"


def document(effect, action, resource="*"):
    statement = {"Effect": effect, "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
def iam(cluster, service):
    return client_of(service, "iam", cluster.root)


@pytest.fixture
def someone(cluster):
    """The name of a user, and the user's keys."""
    name = unique("someone")
    return name, cluster.add_user(name)


@pytest.fixture
def aws(cluster, service):
    keys = {"AWS_ACCESS_KEY_ID": cluster.root.access_key, "AWS_SECRET_ACCESS_KEY": cluster.root.secret_key}
    environment = service.environment() | keys
    return lambda *arguments, **options: run("aws", *arguments, "--output", "json", env=environment, **options)


def test_everybody_learns_who_they_are(cluster, service, someone):
    name, keys = someone
    said = client_of(service, "sts", keys).get_caller_identity()
    assert (said["Account"], said["Arn"]) == (ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/{name}")
    assert said["UserId"] == keys.user_id
    said = client_of(service, "sts", cluster.root).get_caller_identity()
    assert (said["UserId"], said["Arn"]) == (ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root")
    with error("InvalidClientTokenId", 403):
        client_of(service, "sts", Keys("NOBODYNOBODYNOBODYNO", "x" * 40)).get_caller_identity()
    with error("SignatureDoesNotMatch", 403):
        client_of(service, "sts", Keys(keys.access_key, "x" * 40)).get_caller_identity()
    with error("NotImplemented", 501):
        client_of(service, "sts", keys).get_session_token()


def test_a_user_comes_gets_keys_and_goes(service, iam):
    name = unique("user")
    made = iam.create_user(UserName=name)["User"]
    assert (made["UserName"], made["Path"], made["Arn"]) == (name, "/", f"arn:aws:iam::{ACCOUNT}:user/{name}")
    with error("EntityAlreadyExists", 409):
        iam.create_user(UserName=name)
    assert iam.get_user(UserName=name)["User"]["UserId"] == made["UserId"]
    listed = [user["UserName"] for page in iam.get_paginator("list_users").paginate() for user in page["Users"]]
    assert name in listed and "root" not in listed
    assert iam.list_access_keys(UserName=name)["AccessKeyMetadata"] == []

    key = iam.create_access_key(UserName=name)["AccessKey"]
    keys = Keys(key["AccessKeyId"], key["SecretAccessKey"])
    bucket = unique("bucket")
    service.client(keys).create_bucket(Bucket=bucket)
    assert [key["AccessKeyId"] for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]] == [keys.access_key]
    iam.update_access_key(UserName=name, AccessKeyId=keys.access_key, Status="Inactive")
    with error("InvalidAccessKeyId", 403):
        service.client(keys).list_buckets()
    iam.update_access_key(UserName=name, AccessKeyId=keys.access_key, Status="Active")
    with error("DeleteConflict", 409):
        iam.delete_user(UserName=name)
    service.client(keys).delete_bucket(Bucket=bucket)
    iam.delete_access_key(UserName=name, AccessKeyId=keys.access_key)
    iam.delete_user(UserName=name)
    with error("NoSuchEntity", 404):
        iam.get_user(UserName=name)


def test_a_user_with_buckets_stays(service, iam, someone):
    name, keys = someone
    bucket = unique("bucket")
    service.client(keys).create_bucket(Bucket=bucket)
    with error("DeleteConflict", 409):
        iam.delete_user(UserName=name)
    service.client(keys).delete_bucket(Bucket=bucket)
    iam.delete_user(UserName=name)


def test_an_inline_policy_opens_a_bucket_and_is_given_back(service, iam, s3, bucket, someone):
    name, keys = someone
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    text = document("Allow", "s3:GetObject", f"arn:aws:s3:::{bucket}/*")
    iam.put_user_policy(UserName=name, PolicyName="read", PolicyDocument=text)
    assert service.client(keys).get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"
    assert iam.list_user_policies(UserName=name)["PolicyNames"] == ["read"]
    said = iam.get_user_policy(UserName=name, PolicyName="read")
    assert (said["UserName"], said["PolicyDocument"]) == (name, json.loads(text))
    with error("MalformedPolicyDocument", 400):
        iam.put_user_policy(UserName=name, PolicyName="wrong", PolicyDocument="{}")
    iam.delete_user_policy(UserName=name, PolicyName="read")
    with error("NoSuchEntity", 404):
        iam.get_user_policy(UserName=name, PolicyName="read")
    with error("AccessDenied", 403):
        service.client(keys).get_object(Bucket=bucket, Key="a")


def test_a_policy_is_made_attached_changed_and_removed(service, iam, s3, bucket, someone):
    name, keys = someone
    policy = unique("policy")
    text = document("Allow", "s3:PutObject", f"arn:aws:s3:::{bucket}/*")
    arn = iam.create_policy(PolicyName=policy, PolicyDocument=text)["Policy"]["Arn"]
    assert arn == f"arn:aws:iam::{ACCOUNT}:policy/{policy}"
    iam.attach_user_policy(UserName=name, PolicyArn=arn)
    service.client(keys).put_object(Bucket=bucket, Key="a", Body=b"a")
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    said = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
    assert (said["Document"], said["IsDefaultVersion"]) == (json.loads(text), True)
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=document("Deny", "s3:*"), SetAsDefault=True)
    with error("AccessDenied", 403):
        service.client(keys).put_object(Bucket=bucket, Key="a", Body=b"a")
    attached = iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]
    assert attached == [{"PolicyName": policy, "PolicyArn": arn}]
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    with error("DeleteConflict", 409):
        iam.delete_policy(PolicyArn=arn)
    with error("DeleteConflict", 409):
        iam.delete_user(UserName=name)
    iam.detach_user_policy(UserName=name, PolicyArn=arn)
    assert [version["VersionId"] for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]] == ["v1"]
    iam.delete_policy(PolicyArn=arn)
    with error("NoSuchEntity", 404):
        iam.get_policy(PolicyArn=arn)
    built_in = {policy["Arn"] for policy in iam.list_policies(Scope="AWS")["Policies"]}
    assert {f"arn:aws:iam::aws:policy/{name}" for name in ("readonly", "readwrite", "writeonly")} <= built_in


def test_a_group_gives_its_policies_to_its_members(service, iam, s3, bucket, someone):
    name, keys = someone
    group = unique("group")
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    assert iam.create_group(GroupName=group)["Group"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:group/{group}"
    iam.attach_group_policy(GroupName=group, PolicyArn="arn:aws:iam::aws:policy/readonly")
    iam.put_group_policy(GroupName=group, PolicyName="own", PolicyDocument=document("Deny", "s3:PutObject"))
    iam.add_user_to_group(GroupName=group, UserName=name)
    assert service.client(keys).get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"
    assert [user["UserName"] for user in iam.get_group(GroupName=group)["Users"]] == [name]
    assert [group["GroupName"] for group in iam.list_groups_for_user(UserName=name)["Groups"]] == [group]
    assert iam.get_group_policy(GroupName=group, PolicyName="own")["PolicyDocument"]["Statement"][0]["Effect"] == "Deny"
    with error("DeleteConflict", 409):
        iam.delete_group(GroupName=group)
    iam.remove_user_from_group(GroupName=group, UserName=name)
    iam.delete_group_policy(GroupName=group, PolicyName="own")
    iam.detach_group_policy(GroupName=group, PolicyArn="arn:aws:iam::aws:policy/readonly")
    iam.delete_group(GroupName=group)
    with error("NoSuchEntity", 404):
        iam.get_group(GroupName=group)


def test_lists_come_in_pages(iam):
    names = sorted(unique("page") for _ in range(3))
    for name in names:
        iam.create_group(GroupName=name)
    pages = list(iam.get_paginator("list_groups").paginate(PaginationConfig={"PageSize": 1}))
    assert all(len(page["Groups"]) <= 1 for page in pages)
    listed = [group["GroupName"] for page in pages for group in page["Groups"]]
    assert set(names) <= set(listed) and len(listed) == len(set(listed))
    for name in names:
        iam.delete_group(GroupName=name)


def test_a_user_may_what_policies_say_and_nothing_of_root(cluster, service, iam, someone):
    name, keys = someone
    theirs = client_of(service, "iam", keys)
    with error("AccessDenied", 403):
        theirs.get_user()
    own = f"arn:aws:iam::{ACCOUNT}:user/${{aws:username}}"
    text = document("Allow", ["iam:GetUser", "iam:*AccessKey*"], own)
    iam.put_user_policy(UserName=name, PolicyName="own-keys", PolicyDocument=text)
    assert theirs.get_user()["User"]["UserName"] == name
    made = theirs.create_access_key()["AccessKey"]
    assert made["UserName"] == name
    theirs.delete_access_key(AccessKeyId=made["AccessKeyId"])
    with error("UnmodifiableEntity", 400):
        theirs.delete_access_key(AccessKeyId=keys.access_key)
    with error("AccessDenied", 403):
        theirs.create_access_key(UserName="root")
    with error("AccessDenied", 403):
        theirs.list_users()
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=document("Allow", "iam:*"))
    theirs.list_users()
    with error("NoSuchEntity", 404):
        theirs.create_access_key(UserName="root")
    with error("NoSuchEntity", 404):
        theirs.delete_access_key(AccessKeyId=cluster.root.access_key)
    iam.put_user_policy(UserName=name, PolicyName="never", PolicyDocument=document("Deny", "iam:CreateUser"))
    with error("AccessDenied", 403):
        theirs.create_user(UserName=unique("user"))


def test_what_policies_say_can_be_asked(iam, someone):
    name, _ = someone
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document("Allow", "s3:Get*"))
    iam.put_user_policy(UserName=name, PolicyName="q", PolicyDocument=document("Deny", "s3:GetBucketAcl"))
    answers = iam.simulate_principal_policy(
        PolicySourceArn=f"arn:aws:iam::{ACCOUNT}:user/{name}",
        ActionNames=["s3:GetObject", "s3:GetBucketAcl", "s3:PutObject"],
        ResourceArns=["arn:aws:s3:::b/k"],
    )["EvaluationResults"]
    assert [answer["EvalDecision"] for answer in answers] == ["allowed", "explicitDeny", "implicitDeny"]


def test_what_is_not_there_is_refused_and_never_ignored(service, iam, someone):
    name, _ = someone
    for refused in (
        lambda: iam.create_user(UserName=unique("user"), Tags=[{"Key": "a", "Value": "b"}]),
        lambda: iam.create_user(UserName=unique("user"), PermissionsBoundary=f"arn:aws:iam::{ACCOUNT}:policy/p"),
        lambda: iam.create_user(UserName=unique("user"), Path="/team/"),
        lambda: iam.update_user(UserName=name, NewUserName=unique("user")),
        lambda: iam.list_roles(),
    ):
        with error("NotImplemented", 501):
            refused()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = requests.post(service.url, data="Action=ListUsers&Version=2010-05-08", headers=form, timeout=10)
    assert answer.status_code == 403 and "<Code>MissingAuthenticationToken</Code>" in answer.text


def test_the_aws_cli_works_as_people_type_it(aws):
    name, policy = unique("user"), unique("policy")
    said = json.loads(aws("sts", "get-caller-identity").stdout)
    assert said["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    assert json.loads(aws("iam", "create-user", "--user-name", name).stdout)["User"]["UserName"] == name
    text = document("Allow", "s3:*", "arn:aws:s3:::*")
    made = json.loads(aws("iam", "create-policy", "--policy-name", policy, "--policy-document", text).stdout)
    arn = made["Policy"]["Arn"]
    aws("iam", "attach-user-policy", "--user-name", name, "--policy-arn", arn)
    shown = json.loads(aws("iam", "get-policy-version", "--policy-arn", arn, "--version-id", "v1").stdout)
    assert shown["PolicyVersion"]["Document"] == json.loads(text)
    assert "DeleteConflict" in aws("iam", "delete-user", "--user-name", name, ok=False).stderr
    aws("iam", "detach-user-policy", "--user-name", name, "--policy-arn", arn)
    aws("iam", "delete-policy", "--policy-arn", arn)
    aws("iam", "delete-user", "--user-name", name)
    assert "NoSuchEntity" in aws("iam", "get-user", "--user-name", name, ok=False).stderr
