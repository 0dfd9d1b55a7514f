"""Users' rights: policies of users and groups, and keys that are disabled, expire, or are narrowed."""

import json
import os
import subprocess
import time
import uuid

import pytest

from conftest import BINARY, Keys, Service
from expect import error


@pytest.fixture
def cairn(cluster, service):
    def run(*arguments, ok=True):
        command = [BINARY, *arguments, "--endpoint", service.url, "--json"]
        environment = os.environ | cluster.environment
        said = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert (said.returncode == 0) is ok, said.stderr
        return json.loads(said.stdout) if ok else said.stderr

    return run


@pytest.fixture
def someone(cluster):
    """The name of a user, and the user's keys."""
    name = f"someone-{uuid.uuid4().hex[:8]}"
    return name, cluster.add_user(name)


@pytest.fixture
def file(tmp_path):
    def write(effect, action, resource="arn:aws:s3:::*"):
        path = tmp_path / uuid.uuid4().hex
        statement = {"Effect": effect, "Action": action, "Resource": resource}
        path.write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        return str(path)

    return write


def unique(name):
    return f"{name}-{uuid.uuid4().hex[:8]}"


def test_a_policy_of_a_user_opens_the_buckets_of_others_at_once_and_at_every_gateway(
    cluster, cairn, service, s3, bucket, someone
):
    name, keys = someone
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    ways = [Service(process.url, process.port, keys, cluster).client() for process in (cluster.server, cluster.gateway)]
    for way in ways:
        with error("AccessDenied", 403):
            way.get_object(Bucket=bucket, Key="a")
    cairn("policy", "attach", "readonly", "--user", name)
    assert cairn("user", "info", name)["policies"] == ["readonly"]
    assert service.client(keys).get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"
    time.sleep(1)
    for way in ways:
        assert way.get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"
        with error("AccessDenied", 403):
            way.put_object(Bucket=bucket, Key="b", Body=b"b")
    cairn("policy", "detach", "readonly", "--user", name)
    time.sleep(1)
    for way in ways:
        with error("AccessDenied", 403):
            way.get_object(Bucket=bucket, Key="a")


def test_a_group_gives_its_policies_to_its_members(cairn, service, s3, bucket, someone, file):
    name, keys = someone
    them, group, policy = service.client(keys), unique("group"), unique("policy")
    cairn("policy", "set", policy, file("Allow", "s3:PutObject", f"arn:aws:s3:::{bucket}/*"))
    cairn("group", "add", group)
    cairn("group", "attach", group, name)
    cairn("policy", "attach", policy, "--group", group)
    info = cairn("group", "info", group)
    assert (info["members"], info["policies"]) == ([name], [policy])
    them.put_object(Bucket=bucket, Key="a", Body=b"a")
    with error("AccessDenied", 403):
        them.get_object(Bucket=bucket, Key="a")
    assert "DeleteConflict" in cairn("policy", "remove", policy, ok=False)
    assert "DeleteConflict" in cairn("group", "remove", group, ok=False)
    cairn("policy", "set", policy, file("Deny", "s3:*"))
    own = unique("own")
    with error("AccessDenied", 403):
        them.create_bucket(Bucket=own)
    with error("AccessDenied", 403):
        them.list_buckets()
    cairn("group", "detach", group, name)
    them.create_bucket(Bucket=own)
    them.delete_bucket(Bucket=own)
    cairn("policy", "detach", policy, "--group", group)
    cairn("group", "remove", group)
    cairn("policy", "remove", policy)
    assert "NoSuchEntity" in cairn("policy", "info", policy, ok=False)


def test_an_explicit_deny_wins_over_the_policy_of_a_bucket(cairn, service, s3, bucket, someone, file):
    name, keys = someone
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": [statement]}))
    them = service.client(keys)
    them.get_object(Bucket=bucket, Key="a")
    policy = unique("policy")
    cairn("policy", "set", policy, file("Deny", "s3:GetObject"))
    cairn("policy", "attach", policy, "--user", name)
    with error("AccessDenied", 403):
        them.get_object(Bucket=bucket, Key="a")
    verdict = cairn("explain", "access", name, "s3:GetObject", f"{bucket}/a")
    assert verdict["allowed"] is False and '"Effect":"Deny"' in verdict["statement"]
    them.put_object(Bucket=bucket, Key="a", Body=b"b")


def test_keys_are_made_narrowed_disabled_and_removed(cairn, service, someone, file):
    name, first = someone
    bucket = unique("own")
    service.client(first).create_bucket(Bucket=bucket)
    service.client(first).put_object(Bucket=bucket, Key="a", Body=b"a")
    made = cairn("key", "add", name, "--description", "a backup", "--policy", file("Allow", "s3:GetObject"))
    narrowed = service.client(Keys(made["access_key"], made["secret_key"]))
    assert narrowed.get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"
    with error("AccessDenied", 403):
        narrowed.put_object(Bucket=bucket, Key="a", Body=b"b")
    with error("AccessDenied", 403):
        narrowed.list_buckets()
    twice = file("Allow", "s3:GetObject")
    text = open(twice).read()
    with open(twice, "w") as out:
        out.write(text[:-1] + ', "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}')
    assert "twice" in cairn("key", "add", name, "--policy", twice, ok=False)
    listed = cairn("key", "list", name)["keys"]
    assert [(key["access_key"], key["description"]) for key in listed] == [(made["access_key"], "a backup")]
    assert made["secret_key"] not in json.dumps(listed)
    for change, opens in [("disable", False), ("enable", True)]:
        cairn("key", change, made["access_key"])
        if opens:
            narrowed.get_object(Bucket=bucket, Key="a")
        else:
            with error("InvalidAccessKeyId", 403):
                narrowed.get_object(Bucket=bucket, Key="a")
    cairn("key", "remove", made["access_key"])
    with error("InvalidAccessKeyId", 403):
        narrowed.get_object(Bucket=bucket, Key="a")
    for change in ("remove", "disable"):
        assert "first key" in cairn("key", change, first.access_key, ok=False)
    service.client(first).get_object(Bucket=bucket, Key="a")


def test_a_narrowed_key_of_root_is_no_administrator(cluster, cairn, service, file):
    made = cairn("key", "add", "root", "--policy", file("Allow", "s3:*"))
    keys = {"CAIRN_ROOT_ACCESS_KEY": made["access_key"], "CAIRN_ROOT_SECRET_KEY": made["secret_key"]}
    service.client(Keys(made["access_key"], made["secret_key"])).list_buckets()
    for command in (["user", "list"], ["key", "add", "root"], ["status"]):
        environment = os.environ | cluster.environment | keys
        command = [BINARY, *command, "--endpoint", service.url]
        said = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert said.returncode != 0 and "AccessDenied" in said.stderr, said
    cairn("key", "remove", made["access_key"])


def test_a_key_ends_by_itself(cairn, service, someone):
    name, _ = someone
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
    made = cairn("key", "add", name, "--expires", soon)
    client = service.client(Keys(made["access_key"], made["secret_key"]))
    client.list_buckets()
    time.sleep(4)
    with error("InvalidAccessKeyId", 403):
        client.list_buckets()


def test_a_user_who_is_disabled_opens_nothing_until_enabled(cairn, service, someone):
    name, keys = someone
    made = cairn("key", "add", name)
    clients = [service.client(keys), service.client(Keys(made["access_key"], made["secret_key"]))]
    for client in clients:
        client.list_buckets()
    cairn("user", "disable", name)
    assert cairn("user", "info", name)["disabled"] is True
    for client in clients:
        with error("InvalidAccessKeyId", 403):
            client.list_buckets()
    cairn("user", "enable", name)
    for client in clients:
        client.list_buckets()
    cairn("user", "remove", name)
    for client in clients:
        with error("InvalidAccessKeyId", 403):
            client.list_buckets()


def test_what_is_wrong_is_said(cairn, someone, file, tmp_path):
    name, _ = someone
    wrong = tmp_path / "wrong"
    wrong.write_text('{"Statement": {"Effect": "Allow", "Action": "s3:*", "Principal": "*", "Resource": "*"}}')
    assert "Principal" in cairn("policy", "set", unique("policy"), str(wrong), ok=False)
    assert "built in" in cairn("policy", "set", "readonly", file("Allow", "s3:*"), ok=False)
    assert "built in" in cairn("policy", "remove", "readonly", ok=False)
    past = cairn("key", "add", name, "--expires", "2001-01-01T00:00:00Z", ok=False)
    assert "past" in past
    assert "InvalidArgument" in cairn("group", "add", "a b", ok=False)
    assert "NoSuchUser" in cairn("policy", "attach", "readonly", "--user", unique("nobody"), ok=False)
    assert "NoSuchEntity" in cairn("policy", "attach", unique("policy"), "--user", name, ok=False)
    assert "NoSuchEntity" in cairn("group", "attach", unique("group"), name, ok=False)
    assert "NoSuchUser" in cairn("key", "add", unique("nobody"), ok=False)
    names = [policy["name"] for policy in cairn("policy", "list")["policies"]]
    assert {"consoleAdmin", "diagnostics", "readonly", "readwrite", "writeonly"} <= set(names)
