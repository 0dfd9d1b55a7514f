"""curl with --aws-sigv4, and with presigned URLs."""

import pytest

from tools import make_file, run, sha256

# S3 demands the header of every upload; Debian's curl 7.88 does not send it by itself.
UNSIGNED = ["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]


@pytest.fixture
def curl(service):
    user = f"{service.keys.access_key}:{service.keys.secret_key}"
    signed = ["curl", "-sS", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", user]
    return lambda *arguments, **options: run(*signed, *arguments, **options)


def test_put_get_head_list_and_delete(curl, service, bucket, tmp_path):
    digest = make_file(tmp_path / "file", 123_456)
    url = f"{service.url}/{bucket}/dir/file.bin"
    curl("--fail", *UNSIGNED, "-T", tmp_path / "file", url)
    curl("--fail", "-o", tmp_path / "down", url)
    assert sha256(tmp_path / "down") == digest
    head = curl("--fail", "--head", url).stdout.lower()
    assert "content-length: 123456" in head and "accept-ranges: bytes" in head
    part = curl("--fail", "-r", "100-199", "-o", tmp_path / "part", "-w", "%{http_code}", url).stdout
    assert part == "206"
    assert (tmp_path / "part").read_bytes() == (tmp_path / "file").read_bytes()[100:200]
    assert "<Key>dir/file.bin</Key>" in curl("--fail", f"{service.url}/{bucket}?list-type=2&prefix=dir%2F").stdout
    assert curl("-X", "DELETE", "-w", "%{http_code}", url).stdout == "204"
    assert "<Code>NoSuchKey</Code>" in curl(url).stdout


def test_an_upload_from_a_pipe_without_a_length_is_told_what_is_missing(curl, service, bucket):
    url = f"{service.url}/{bucket}/piped"
    answer = run(
        "sh", "-c",
        f"echo data | curl -sS --aws-sigv4 aws:amz:us-east-1:s3 --user '{service.keys.access_key}:"
        f"{service.keys.secret_key}' -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' -T - {url}",
    ).stdout
    assert "<Code>MissingContentLength</Code>" in answer


def test_presigned_get_and_put(service, bucket, s3, tmp_path):
    digest = make_file(tmp_path / "file", 50_000)
    put = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "by curl"}, ExpiresIn=60)
    get = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "by curl"}, ExpiresIn=60)
    run("curl", "-sS", "--fail", "-T", tmp_path / "file", put)
    run("curl", "-sS", "--fail", "-o", tmp_path / "down", get)
    assert sha256(tmp_path / "down") == digest


def test_a_presigned_url_that_was_changed_or_has_expired_is_refused(service, bucket, s3):
    s3.put_object(Bucket=bucket, Key="key", Body=b"x")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "key"}, ExpiresIn=60)
    assert "<Code>SignatureDoesNotMatch</Code>" in run("curl", "-sS", url.replace("/key?", "/kez?")).stdout
    said = run("curl", "-sS", "--retry", 0, "--max-time", 5, url + "&nothing=").stdout
    assert "<Code>SignatureDoesNotMatch</Code>" in said
    import time

    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "key"}, ExpiresIn=1)
    time.sleep(2.1)
    said = run("curl", "-sS", url).stdout
    assert "<Code>AccessDenied</Code>" in said and "Request has expired" in said


def test_an_anonymous_request_is_denied(service, bucket):
    assert "<Code>AccessDenied</Code>" in run("curl", "-sS", f"{service.url}/{bucket}").stdout


def test_keys_come_from_the_raw_uri(curl, service, bucket, s3):
    for path, key in [
        ("a//b", "a//b"),
        ("a/../b", "a/../b"),
        ("a%2Fc", "a/c"),
        ("plus+plus", "plus+plus"),
        ("./dot", "./dot"),
        ("/lead", "/lead"),
    ]:
        curl("--fail", "--path-as-is", *UNSIGNED, "-X", "PUT", "-d", "x", f"{service.url}/{bucket}/{path}")
        assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == 1, key
