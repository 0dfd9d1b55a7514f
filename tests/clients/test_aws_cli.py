"""The aws CLI, as people type it."""

import requests

from tools import LARGE, make_file, run, sha256, tree

import pytest


@pytest.fixture
def aws(service):
    environment = service.environment()
    return lambda *arguments, **options: run("aws", *arguments, env=environment, **options)


@pytest.mark.parametrize("size", [0, 1, 16 << 10, (16 << 10) + 1, 1 << 20, LARGE])
def test_cp_up_and_down_gives_the_same_bytes(aws, bucket, tmp_path, size):
    digest = make_file(tmp_path / "up", size)
    aws("s3", "cp", "--no-progress", tmp_path / "up", f"s3://{bucket}/some/key")
    aws("s3", "cp", "--no-progress", f"s3://{bucket}/some/key", tmp_path / "down")
    assert sha256(tmp_path / "down") == digest


def test_cp_streams_from_standard_input_and_to_standard_output(service, bucket):
    import subprocess

    environment = service.environment()
    subprocess.run(["aws", "s3", "cp", "-", f"s3://{bucket}/piped"], env=environment, input=b"piped bytes", check=True)
    got = subprocess.run(["aws", "s3", "cp", f"s3://{bucket}/piped", "-"], env=environment, capture_output=True)
    assert got.stdout == b"piped bytes"


def test_mb_ls_and_rb(aws, service):
    name = f"made-by-mb-{service.port}"
    aws("s3", "mb", f"s3://{name}")
    assert name in aws("s3", "ls").stdout
    aws("s3", "rb", f"s3://{name}")
    assert name not in aws("s3", "ls").stdout


def test_rb_of_a_bucket_with_objects_is_refused_and_force_empties_it(aws, bucket, tmp_path):
    make_file(tmp_path / "file", 10)
    aws("s3", "cp", tmp_path / "file", f"s3://{bucket}/file")
    assert "BucketNotEmpty" in aws("s3", "rb", f"s3://{bucket}", ok=False).stderr
    aws("s3", "rb", "--force", f"s3://{bucket}")


def test_sync_ls_and_rm_recursive(aws, bucket, tmp_path):
    local = tmp_path / "local"
    for number in range(30):
        make_file(local / f"dir{number % 3}" / f"file {number}+ü.bin", number * 777, seed=number)
    aws("s3", "sync", "--no-progress", local, f"s3://{bucket}/tree")
    listed = aws("s3", "ls", "--recursive", f"s3://{bucket}/tree/").stdout.splitlines()
    assert len(listed) == 30
    assert [line.split()[-1] for line in aws("s3", "ls", f"s3://{bucket}/tree/").stdout.splitlines()] == [
        "dir0/",
        "dir1/",
        "dir2/",
    ]
    assert "upload" not in aws("s3", "sync", local, f"s3://{bucket}/tree").stdout, "the second sync moves nothing"
    aws("s3", "sync", "--no-progress", f"s3://{bucket}/tree", tmp_path / "back")
    assert tree(tmp_path / "back") == tree(local)
    (local / "dir0" / "file 0+ü.bin").unlink()
    aws("s3", "sync", "--delete", local, f"s3://{bucket}/tree")
    assert len(aws("s3", "ls", "--recursive", f"s3://{bucket}/tree/").stdout.splitlines()) == 29
    aws("s3", "rm", "--recursive", f"s3://{bucket}/tree/dir1")
    assert len(aws("s3", "ls", "--recursive", f"s3://{bucket}/").stdout.splitlines()) == 19
    aws("s3", "rm", "--recursive", f"s3://{bucket}/")
    assert aws("s3", "ls", "--recursive", f"s3://{bucket}/", ok=None).stdout == ""


def test_mv_moves(aws, bucket, tmp_path):
    digest = make_file(tmp_path / "file", 100_000)
    aws("s3", "cp", tmp_path / "file", f"s3://{bucket}/from")
    aws("s3", "mv", f"s3://{bucket}/from", f"s3://{bucket}/to")
    aws("s3", "cp", f"s3://{bucket}/to", tmp_path / "down")
    assert sha256(tmp_path / "down") == digest
    assert "404" in aws("s3", "cp", f"s3://{bucket}/from", tmp_path / "gone", ok=False).stderr


def test_a_large_object_is_copied_in_parts(aws, bucket, tmp_path):
    digest = make_file(tmp_path / "file", 20 << 20)
    aws("s3", "cp", "--no-progress", tmp_path / "file", f"s3://{bucket}/from")
    aws("s3", "cp", "--no-progress", f"s3://{bucket}/from", f"s3://{bucket}/to")
    aws("s3", "cp", "--no-progress", f"s3://{bucket}/to", tmp_path / "down")
    assert sha256(tmp_path / "down") == digest


def test_presign_gives_a_url_that_anybody_can_read(aws, service, bucket, tmp_path):
    digest = make_file(tmp_path / "file", 5000)
    aws("s3", "cp", tmp_path / "file", f"s3://{bucket}/a key+with ünï")
    # Version 1 of the aws CLI presigns with SigV2 unless it is told otherwise.
    (tmp_path / "config").write_text("[default]\ns3 =\n    signature_version = s3v4\n")
    environment = service.environment() | {"AWS_CONFIG_FILE": str(tmp_path / "config")}
    url = run(
        "aws", "s3", "presign", f"s3://{bucket}/a key+with ünï", "--expires-in", 60, env=environment
    ).stdout.strip()
    answer = requests.get(url, timeout=10)
    assert answer.status_code == 200
    (tmp_path / "down").write_bytes(answer.content)
    assert sha256(tmp_path / "down") == digest


def test_a_wrong_secret_a_wrong_key_and_a_wrong_bucket_are_told_apart(service, bucket):
    def ls(**changes):
        environment = service.environment() | changes
        return run("aws", "s3api", "list-objects-v2", "--bucket", bucket, env=environment, ok=False).stderr

    assert "SignatureDoesNotMatch" in ls(AWS_SECRET_ACCESS_KEY="wrong")
    assert "InvalidAccessKeyId" in ls(AWS_ACCESS_KEY_ID="AKIDOFNOBODYATALL000")
    environment = service.environment()
    missing = run("aws", "s3api", "head-object", "--bucket", "no-such-bucket", "--key", "k", env=environment, ok=False)
    assert "404" in missing.stderr
    missing = run("aws", "s3api", "list-objects-v2", "--bucket", "no-such-bucket", env=environment, ok=False)
    assert "NoSuchBucket" in missing.stderr
