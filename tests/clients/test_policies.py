"""Bucket policies: who is let in, who is kept out, and what is refused. Each holds from the moment of its answer."""

import json
import os
import subprocess
import urllib.error
import urllib.request
import uuid

import boto3
import botocore
import pytest

from conftest import BINARY, Service
from expect import error

ACCOUNT = "000000000000"


@pytest.fixture
def other(cluster):
    """The name of a user, and the user's keys."""
    name = f"other-{uuid.uuid4().hex[:8]}"
    return name, cluster.add_user(name)


def statement(bucket, effect, principal, actions, *resources, **more):
    names = [f"arn:aws:s3:::{bucket}{resource}" for resource in resources]
    return {"Effect": effect, "Principal": principal, "Action": actions, "Resource": names, **more}


def put(s3, bucket, *statements):
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))


def stranger(service):
    config = botocore.config.Config(signature_version=botocore.UNSIGNED, s3={"addressing_style": "path"})
    return boto3.client("s3", endpoint_url=service.url, region_name="us-east-1", config=config)


def test_a_policy_comes_back_as_it_was_put(s3, bucket):
    with error("NoSuchBucketPolicy", 404):
        s3.get_bucket_policy(Bucket=bucket)
    text = json.dumps({"Statement": [statement(bucket, "Allow", "*", "s3:GetObject", "/*")]}, indent=3)
    s3.put_bucket_policy(Bucket=bucket, Policy=text)
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == text
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is True
    s3.delete_bucket_policy(Bucket=bucket)
    s3.delete_bucket_policy(Bucket=bucket)
    with error("NoSuchBucketPolicy", 404):
        s3.get_bucket_policy_status(Bucket=bucket)


@pytest.mark.parametrize(
    "policy, fault",
    [
        ("{", "json"),
        ("[]", "object"),
        ('{"Statement": []}', "statement"),
        (
            '{"Statement": {"Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::123456789012:user/x"}, '
            '"Action": "s3:*", "Resource": "BUCKET"}}',
            "invalid principal",
        ),
        ('{"Statement": {"Effect": "Maybe", "Principal": "*", "Action": "s3:*", "Resource": "BUCKET"}}', "Effect"),
        ('{"Statement": {"Effect": "Deny", "Action": "s3:*", "Resource": "BUCKET"}}', "Principal"),
        (
            '{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "BUCKET", "Condition": '
            '{"StringLike": {"s3:TlsVersoin": "1"}}}}',
            "tlsversoin",
        ),
        ('{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "BUCKET"}, "x": 1}', "x"),
    ],
)
def test_what_is_no_policy_is_malformed_and_said_where(s3, bucket, policy, fault):
    with error("MalformedPolicy", 400) as failed:
        s3.put_bucket_policy(Bucket=bucket, Policy=policy.replace("BUCKET", f"arn:aws:s3:::{bucket}"))
    assert fault in str(failed.value).lower() or fault in str(failed.value)


def test_a_policy_is_about_its_own_bucket(s3, bucket):
    with error("MalformedPolicy", 400):
        put(s3, bucket, statement("another", "Allow", "*", "s3:GetObject", "/*"))


def test_everybody_reads_what_is_public_and_nothing_else(service, s3, bucket):
    s3.put_object(Bucket=bucket, Key="open/a", Body=b"a")
    s3.put_object(Bucket=bucket, Key="closed", Body=b"b")
    nobody = stranger(service)
    with error("AccessDenied", 403):
        nobody.get_object(Bucket=bucket, Key="open/a")
    put(s3, bucket, statement(bucket, "Allow", "*", ["s3:GetObject"], "/open/*"))
    assert nobody.get_object(Bucket=bucket, Key="open/a")["Body"].read() == b"a"
    with urllib.request.urlopen(f"{service.url}/{bucket}/open/a") as answer:
        assert answer.read() == b"a"
    for call in [
        lambda: nobody.get_object(Bucket=bucket, Key="closed"),
        lambda: nobody.put_object(Bucket=bucket, Key="open/a", Body=b"x"),
        lambda: nobody.delete_object(Bucket=bucket, Key="open/a"),
        lambda: nobody.list_objects_v2(Bucket=bucket),
        lambda: nobody.get_bucket_policy(Bucket=bucket),
        lambda: nobody.delete_bucket_policy(Bucket=bucket),
    ]:
        with error("AccessDenied", 403):
            call()
    s3.delete_bucket_policy(Bucket=bucket)
    with error("AccessDenied", 403):
        nobody.get_object(Bucket=bucket, Key="open/a")


def test_another_user_is_let_in_by_name_and_each_key_is_judged(service, s3, bucket, other):
    for key in ["mine/a", "mine/b", "theirs"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    name, keys = other
    them = service.client(keys)
    principal = {"AWS": f"arn:aws:iam::{ACCOUNT}:user/{name}"}
    put(
        s3,
        bucket,
        statement(bucket, "Allow", principal, ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], "/mine/*"),
        statement(bucket, "Allow", principal, "s3:ListBucket", "", Condition={"StringLike": {"s3:prefix": "mine/*"}}),
    )
    assert them.get_object(Bucket=bucket, Key="mine/a")["Body"].read() == b"x"
    them.put_object(Bucket=bucket, Key="mine/c", Body=b"theirs")
    assert them.list_objects_v2(Bucket=bucket, Prefix="mine/")["KeyCount"] == 3
    with error("AccessDenied", 403):
        them.list_objects_v2(Bucket=bucket)
    with error("AccessDenied", 403):
        them.copy_object(Bucket=bucket, Key="mine/d", CopySource={"Bucket": bucket, "Key": "theirs"})
    them.copy_object(Bucket=bucket, Key="mine/d", CopySource={"Bucket": bucket, "Key": "mine/a"})
    answer = them.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "mine/a"}, {"Key": "theirs"}]})
    assert [entry["Key"] for entry in answer["Deleted"]] == ["mine/a"]
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [("theirs", "AccessDenied")]
    assert s3.get_object(Bucket=bucket, Key="theirs")["Body"].read() == b"x"


def test_a_deny_binds_the_owner_and_conditions_are_read_from_the_request(s3, bucket):
    put(
        s3,
        bucket,
        statement(bucket, "Deny", "*", "s3:DeleteObject", "/kept/*"),
        statement(bucket, "Deny", "*", "s3:PutObject", "/far/*", Condition={"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}}),
        statement(bucket, "Deny", "*", "s3:PutObject", "/near/*", Condition={"NotIpAddress": {"aws:SourceIp": ["127.0.0.0/8", "::1/128"]}}),
    )
    s3.put_object(Bucket=bucket, Key="kept/a", Body=b"x")
    with error("AccessDenied", 403):
        s3.delete_object(Bucket=bucket, Key="kept/a")
    with error("AccessDenied", 403):
        s3.put_object(Bucket=bucket, Key="far/a", Body=b"x")
    s3.put_object(Bucket=bucket, Key="near/a", Body=b"x")
    s3.delete_bucket_policy(Bucket=bucket)
    s3.delete_object(Bucket=bucket, Key="kept/a")


def test_public_access_is_blocked_where_that_is_set(service, s3, bucket):
    with error("NoSuchPublicAccessBlockConfiguration", 404):
        s3.get_public_access_block(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    public = statement(bucket, "Allow", "*", "s3:GetObject", "/*")
    put(s3, bucket, public)
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"RestrictPublicBuckets": True, "BlockPublicPolicy": True})
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert block == {
        "BlockPublicAcls": False,
        "IgnorePublicAcls": False,
        "BlockPublicPolicy": True,
        "RestrictPublicBuckets": True,
    }
    with error("AccessDenied", 403):
        stranger(service).get_object(Bucket=bucket, Key="a")
    with error("AccessDenied", 403):
        put(s3, bucket, public)
    s3.delete_public_access_block(Bucket=bucket)
    assert stranger(service).get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"


def test_who_has_not_signed_learns_nothing_of_what_is_not_built(service, bucket):
    for path in [f"/{bucket}?lifecycle", f"/{bucket}/key?tagging", "/?unknown"]:
        with pytest.raises(urllib.error.HTTPError) as failed:
            urllib.request.urlopen(service.url + path)
        assert failed.value.code == 403, path


def test_what_is_set_by_one_gateway_holds_at_the_other_at_once(cluster, s3, bucket):
    ways = [Service(process.url, process.port, cluster.root, cluster) for process in (cluster.server, cluster.gateway)]
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    public = statement(bucket, "Allow", "*", "s3:GetObject", "/*")
    for _ in range(20):
        for here, there in (ways, ways[::-1]):
            put(here.client(), bucket, public)
            assert stranger(there).get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"
            here.client().delete_bucket_policy(Bucket=bucket)
            with error("AccessDenied", 403):
                stranger(there).get_object(Bucket=bucket, Key="a")


def test_who_may_not_list_does_not_learn_that_a_key_is_missing(service, s3, bucket):
    put(s3, bucket, statement(bucket, "Allow", "*", "s3:GetObject", "/*"))
    with error("AccessDenied", 403):
        stranger(service).get_object(Bucket=bucket, Key="missing")
    with error("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key="missing")
    both = statement(bucket, "Allow", "*", ["s3:GetObject", "s3:ListBucket"], "/*", "")
    put(s3, bucket, both)
    with error("NoSuchKey", 404):
        stranger(service).get_object(Bucket=bucket, Key="missing")
    with error("NoSuchBucket", 404):
        stranger(service).list_objects_v2(Bucket=f"missing-{uuid.uuid4().hex}")


def test_a_condition_on_the_object_that_is_there_takes_the_right_to_read_it(service, s3, bucket, other):
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"a")["ETag"]
    name, keys = other
    them = service.client(keys)
    principal = {"AWS": f"arn:aws:iam::{ACCOUNT}:user/{name}"}
    put(s3, bucket, statement(bucket, "Allow", principal, ["s3:PutObject", "s3:DeleteObject"], "/*"))
    for call in [
        lambda: them.put_object(Bucket=bucket, Key="a", Body=b"b", IfMatch=etag),
        lambda: them.put_object(Bucket=bucket, Key="a", Body=b"b", IfMatch='"0"'),
        lambda: them.delete_object(Bucket=bucket, Key="a", IfMatch=etag),
    ]:
        with error("AccessDenied", 403):
            call()
    them.put_object(Bucket=bucket, Key="b", Body=b"b", IfNoneMatch="*")
    put(s3, bucket, statement(bucket, "Allow", principal, ["s3:PutObject", "s3:GetObject"], "/*"))
    them.put_object(Bucket=bucket, Key="a", Body=b"b", IfMatch=etag)


def test_what_others_put_into_a_bucket_is_its_owners(service, s3, bucket, other):
    name, keys = other
    them = service.client(keys)
    put(s3, bucket, statement(bucket, "Allow", {"AWS": f"arn:aws:iam::{ACCOUNT}:user/{name}"}, "s3:PutObject", "/*"))
    them.put_object(Bucket=bucket, Key="a", Body=b"a")
    upload = them.create_multipart_upload(Bucket=bucket, Key="b")["UploadId"]
    etag = them.upload_part(Bucket=bucket, Key="b", UploadId=upload, PartNumber=1, Body=b"b")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    them.complete_multipart_upload(Bucket=bucket, Key="b", UploadId=upload, MultipartUpload=parts)
    own = s3.list_buckets()["Owner"]["ID"]
    listed = s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"]
    assert [(entry["Key"], entry["Owner"]["ID"]) for entry in listed] == [("a", own), ("b", own)]
    with error("AccessDenied", 403):
        them.get_object(Bucket=bucket, Key="a")


def test_an_owner_who_has_locked_everybody_out_can_put_it_right(service, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    tls = {"Bool": {"aws:SecureTransport": "false"}}
    put(s3, bucket, statement(bucket, "Deny", "*", "s3:*", "", "/*", Condition=tls))
    for call in [
        lambda: s3.get_object(Bucket=bucket, Key="a"),
        lambda: s3.list_objects_v2(Bucket=bucket),
        lambda: s3.delete_bucket(Bucket=bucket),
    ]:
        with error("AccessDenied", 403):
            call()
    assert "aws:SecureTransport" in s3.get_bucket_policy(Bucket=bucket)["Policy"]
    s3.delete_bucket_policy(Bucket=bucket)
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"


def test_a_key_of_the_signature_is_told_from_a_header(service, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    presigned = {"StringEquals": {"s3:authType": "REST-QUERY-STRING"}}
    put(s3, bucket, statement(bucket, "Deny", "*", "s3:GetObject", "/*", Condition=presigned))
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a"})
    with pytest.raises(urllib.error.HTTPError) as failed:
        urllib.request.urlopen(url)
    assert failed.value.code == 403
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"


def test_a_bucket_that_is_open_to_all_is_read_without_keys_by_the_usual_clients(service, s3, bucket, tmp_path):
    s3.put_object(Bucket=bucket, Key="folder/a", Body=b"bytes")
    put(s3, bucket, statement(bucket, "Allow", "*", ["s3:GetObject", "s3:ListBucket"], "", "/*"))
    without_keys = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    aws = ["aws", "--no-sign-request", "--endpoint-url", service.url, "--region", "us-east-1"]
    source = f"s3://{bucket}/folder/a"
    subprocess.run([*aws, "s3", "cp", source, tmp_path / "a"], env=without_keys, check=True, capture_output=True)
    assert (tmp_path / "a").read_bytes() == b"bytes"
    config = tmp_path / "rclone.conf"
    config.write_text(f"[open]\ntype = s3\nprovider = Other\nendpoint = {service.url}\n")
    rclone = ["rclone", "--config", config, "copy", f"open:{bucket}", tmp_path / "copied"]
    subprocess.run(rclone, env=without_keys, check=True, capture_output=True)
    assert (tmp_path / "copied/folder/a").read_bytes() == b"bytes"
    url = f"{service.url}/{bucket}/folder/a"
    assert subprocess.run(["curl", "-sf", url], check=True, capture_output=True).stdout == b"bytes"
    said = subprocess.run([*aws, "s3", "rm", source], env=without_keys, capture_output=True, text=True)
    assert said.returncode != 0 and "AccessDenied" in said.stderr


def test_it_is_explained_which_statement_says_so(cluster, service, s3, bucket, other):
    name, _ = other

    def explain(*arguments, ok=True):
        command = [BINARY, "explain", "access", *arguments, "--endpoint", service.url]
        said = subprocess.run(command, env=os.environ | cluster.environment, capture_output=True, text=True)
        assert (said.returncode == 0) is ok, said.stderr
        return said.stdout if ok else said.stderr

    assert explain(name, "s3:GetObject", f"{bucket}/a").startswith("denied: nothing allows it")
    near = {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}
    principal = {"AWS": f"arn:aws:iam::{ACCOUNT}:user/{name}"}
    put(
        s3,
        bucket,
        statement(bucket, "Allow", principal, "s3:GetObject", "/*", Condition=near, Sid="near"),
        statement(bucket, "Deny", "*", "s3:GetObject", "/secret/*"),
    )
    assert explain(name, "s3:GetObject", f"{bucket}/a").startswith("denied")
    allowed = explain(name, "s3:GetObject", f"s3://{bucket}/a", "--from", "192.0.2.7")
    assert allowed.startswith("allowed") and '"Sid":"near"' in allowed and "192.0.2.0/24" in allowed
    denied = explain(name, "s3:GetObject", f"{bucket}/secret/a", "--from", "192.0.2.7")
    assert denied.startswith("denied: statement 2") and "/secret/*" in denied
    assert explain("*", "s3:GetObject", f"{bucket}/a").startswith("denied")
    verdict = json.loads(explain(name, "s3:GetObject", f"{bucket}/a", "--from", "192.0.2.7", "--json"))
    assert verdict["allowed"] is True
    assert "NoSuchUser" in explain("nobody-of-this-name", "s3:GetObject", bucket, ok=False)
    assert "NoSuchBucket" in explain(name, "s3:GetObject", "no-bucket-of-this-name/a", ok=False)
