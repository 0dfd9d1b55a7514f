"""Objects: bytes, metadata, ranges, conditions, copies, deletes."""

import datetime
import hashlib
import threading

import botocore.exceptions
import pytest

from expect import error

SIZES = [0, 1, 4096, 16384, 16385, 100_000, (8 << 20) - 1, 8 << 20, (8 << 20) + 1, 20_000_001]


def data(size, seed=0):
    return hashlib.shake_128(f"{seed}/{size}".encode()).digest(size)


@pytest.mark.parametrize("size", SIZES)
def test_what_was_put_is_got(s3, bucket, size):
    body = data(size)
    etag = s3.put_object(Bucket=bucket, Key="key", Body=body)["ETag"]
    assert etag == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="key")
    assert got["Body"].read() == body
    assert (got["ContentLength"], got["ETag"], got["ContentType"]) == (size, etag, "binary/octet-stream")
    head = s3.head_object(Bucket=bucket, Key="key")
    assert (head["ContentLength"], head["ETag"]) == (size, etag)


@pytest.mark.parametrize("size", [10_000, 20_000_001])
def test_ranges(s3, bucket, size):
    body = data(size)
    s3.put_object(Bucket=bucket, Key="key", Body=body)

    def get(range):
        answer = s3.get_object(Bucket=bucket, Key="key", Range=range)
        return answer["ResponseMetadata"]["HTTPStatusCode"], answer.get("ContentRange"), answer["Body"].read()

    for first, last in [(0, 0), (0, 9), (5000, 5999), (65535, 65537), (8388600, 8388620), (size - 1, size - 1)]:
        if last < size:
            assert get(f"bytes={first}-{last}") == (206, f"bytes {first}-{last}/{size}", body[first : last + 1])
    assert get("bytes=100-") == (206, f"bytes 100-{size - 1}/{size}", body[100:])
    assert get("bytes=-100") == (206, f"bytes {size - 100}-{size - 1}/{size}", body[-100:])
    assert get(f"bytes=0-{size * 2}") == (206, f"bytes 0-{size - 1}/{size}", body)
    assert get(f"bytes=-{size * 2}") == (206, f"bytes 0-{size - 1}/{size}", body)
    assert get("bytes=0-1,5-6") == (200, None, body), "several ranges are ignored"
    assert get("lines=0-1") == (200, None, body), "an unknown unit is ignored"
    with error("InvalidRange", 416):
        get(f"bytes={size}-")
    with error("InvalidRange", 416):
        get("bytes=-0")


def test_metadata_and_system_headers_are_given_back(s3, bucket):
    expires = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    given = {
        "ContentType": "text/plain; charset=utf-8",
        "CacheControl": "max-age=60",
        "ContentDisposition": 'attachment; filename="x"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "Metadata": {"one": "1", "two": "zwei und mehr"},
    }
    s3.put_object(Bucket=bucket, Key="key", Body=b"x", Expires=expires, **given)
    for answer in [s3.head_object(Bucket=bucket, Key="key"), s3.get_object(Bucket=bucket, Key="key")]:
        assert {name: answer[name] for name in given} == given
        assert answer["ExpiresString"] == "Wed, 02 Jan 2030 03:04:05 GMT"
    overrides = {
        "ResponseContentType": "image/png",
        "ResponseCacheControl": "no-cache",
        "ResponseContentDisposition": "inline",
        "ResponseContentEncoding": "identity",
        "ResponseContentLanguage": "fr",
    }
    answer = s3.get_object(Bucket=bucket, Key="key", **overrides)
    assert {f"Response{name}": answer[name] for name in [key[8:] for key in overrides]} == overrides


def test_too_much_metadata_and_too_long_a_key_are_refused(s3, bucket):
    with error("MetadataTooLarge", 400):
        s3.put_object(Bucket=bucket, Key="key", Body=b"", Metadata={"a": "x" * 2048})
    s3.put_object(Bucket=bucket, Key="key", Body=b"", Metadata={"a": "x" * 2000})
    s3.put_object(Bucket=bucket, Key="k" * 1024, Body=b"")
    with error("KeyTooLongError", 400):
        s3.put_object(Bucket=bucket, Key="k" * 1025, Body=b"")
    s3.put_object(Bucket=bucket, Key="ü" * 512, Body=b"")
    with error("KeyTooLongError", 400):
        s3.put_object(Bucket=bucket, Key="ü" * 512 + "x", Body=b"")


@pytest.mark.parametrize(
    "key", ["a b", "a+b", "ü/ö", "a//b", "/lead", "trail/", "..", "a/../b", ".", "%2F", "a%b", "a?b&c=d#e", "日本", "😀", "\x7f", "<&>'\""]
)
def test_any_key_goes_there_and_back(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == key.encode()
    deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})
    assert [entry["Key"] for entry in deleted["Deleted"]] == [key]
    with error("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key=key)


def test_conditional_reads(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="key", Body=b"x")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="key")["LastModified"]
    before, after = modified - datetime.timedelta(seconds=10), modified + datetime.timedelta(seconds=10)
    for read in [s3.get_object, s3.head_object]:
        def status(**conditions):
            try:
                return read(Bucket=bucket, Key="key", **conditions)["ResponseMetadata"]["HTTPStatusCode"]
            except botocore.exceptions.ClientError as caught:
                return caught.response["ResponseMetadata"]["HTTPStatusCode"]

        assert status(IfMatch=etag) == 200
        assert status(IfMatch='"0"') == 412
        assert status(IfNoneMatch=etag) == 304
        assert status(IfNoneMatch="*") == 304
        assert status(IfNoneMatch='"0"') == 200
        assert status(IfModifiedSince=before) == 200
        assert status(IfModifiedSince=modified) == 304
        assert status(IfUnmodifiedSince=before) == 412
        assert status(IfUnmodifiedSince=modified) == 200
        assert status(IfUnmodifiedSince=after) == 200
        assert status(IfMatch=etag, IfUnmodifiedSince=before) == 200
        assert status(IfNoneMatch='"0"', IfModifiedSince=modified) == 200
        assert status(IfNoneMatch=etag, IfModifiedSince=before) == 304


def test_conditional_writes(s3, bucket):
    first = s3.put_object(Bucket=bucket, Key="key", Body=b"1", IfNoneMatch="*")["ETag"]
    with error("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key="key", Body=b"2", IfNoneMatch="*")
    second = s3.put_object(Bucket=bucket, Key="key", Body=b"2", IfMatch=first)["ETag"]
    with error("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key="key", Body=b"3", IfMatch=first)
    with error("NoSuchKey", 404):
        s3.put_object(Bucket=bucket, Key="missing", Body=b"3", IfMatch=first)
    with error("PreconditionFailed", 412):
        s3.delete_object(Bucket=bucket, Key="key", IfMatch=first)
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"2"
    with error("PreconditionFailed", 412):
        s3.copy_object(Bucket=bucket, Key="key", CopySource={"Bucket": bucket, "Key": "key"}, IfNoneMatch="*",
                       MetadataDirective="REPLACE")
    s3.delete_object(Bucket=bucket, Key="key", IfMatch=second)
    with error("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key="key")


def test_of_many_conditional_creates_at_once_one_wins(service, bucket):
    clients = [service.client() for _ in range(8)]
    won = []

    def create(number):
        try:
            clients[number].put_object(Bucket=bucket, Key="one", Body=str(number).encode(), IfNoneMatch="*")
            won.append(number)
        except botocore.exceptions.ClientError as caught:
            assert caught.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert service.client().get_object(Bucket=bucket, Key="one")["Body"].read() == str(won[0]).encode()


def test_deletes(s3, bucket):
    assert s3.delete_object(Bucket=bucket, Key="never-there")["ResponseMetadata"]["HTTPStatusCode"] == 204
    keys = [f"key/{number:04}" for number in range(1000)]
    for key in keys[:50]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    assert sorted(entry["Key"] for entry in answer["Deleted"]) == keys and "Errors" not in answer
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}], "Quiet": True})
    assert "Deleted" not in quiet
    with error("MalformedXML", 400):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": str(number)} for number in range(1001)]})


def test_a_thousand_of_the_longest_keys_are_deleted_at_once(s3, bucket):
    key = "0007" + "&" * 1020
    s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    objects = [{"Key": f"{number:04}" + "&" * 1020, "VersionId": "null"} for number in range(1000)]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert [deleted["Key"] for deleted in answer["Deleted"]] == [object["Key"] for object in objects]
    with error("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key=key)


def test_copies(s3, bucket):
    for size in [0, 100, 20_000_001]:
        body = data(size)
        s3.put_object(Bucket=bucket, Key="from", Body=body, ContentType="a/b", Metadata={"m": "1"})
        source = {"Bucket": bucket, "Key": "from"}
        etag = s3.copy_object(Bucket=bucket, Key="to", CopySource=source)["CopyObjectResult"]["ETag"]
        got = s3.get_object(Bucket=bucket, Key="to")
        assert (got["Body"].read(), got["ContentType"], got["Metadata"], got["ETag"]) == (body, "a/b", {"m": "1"}, etag)
        s3.copy_object(Bucket=bucket, Key="to", CopySource=source, MetadataDirective="REPLACE", ContentType="c/d")
        s3.delete_object(Bucket=bucket, Key="from")
        got = s3.get_object(Bucket=bucket, Key="to")
        assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (body, "c/d", {})
    own = {"Bucket": bucket, "Key": "to"}
    with error("InvalidRequest", 400):
        s3.copy_object(Bucket=bucket, Key="to", CopySource=own)
    s3.copy_object(Bucket=bucket, Key="to", CopySource=own, MetadataDirective="REPLACE", Metadata={"new": "2"})
    assert s3.head_object(Bucket=bucket, Key="to")["Metadata"] == {"new": "2"}
    with error("NoSuchKey", 404):
        s3.copy_object(Bucket=bucket, Key="x", CopySource={"Bucket": bucket, "Key": "missing"})
    with error("NoSuchBucket", 404):
        s3.copy_object(Bucket=bucket, Key="x", CopySource={"Bucket": "no-such-bucket", "Key": "to"})
    with error("PreconditionFailed", 412):
        s3.copy_object(Bucket=bucket, Key="x", CopySource=own, CopySourceIfMatch='"0"')
    etag = s3.head_object(Bucket=bucket, Key="to")["ETag"]
    with error("PreconditionFailed", 412):
        s3.copy_object(Bucket=bucket, Key="x", CopySource=own, CopySourceIfNoneMatch=etag)
    s3.copy_object(Bucket=bucket, Key="x", CopySource=own, CopySourceIfMatch=etag)


def test_attributes(s3, bucket):
    s3.put_object(Bucket=bucket, Key="key", Body=b"hello", ChecksumAlgorithm="SHA256")
    asked = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    answer = s3.get_object_attributes(Bucket=bucket, Key="key", ObjectAttributes=asked)
    assert answer["ObjectSize"] == 5
    assert answer["ETag"] == hashlib.md5(b"hello").hexdigest()
    assert answer["StorageClass"] == "STANDARD"
    assert answer["Checksum"]["ChecksumSHA256"] == "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="
    assert "ObjectParts" not in answer
    with error("NoSuchKey", 404):
        s3.get_object_attributes(Bucket=bucket, Key="missing", ObjectAttributes=asked)


def test_a_missing_key_is_404_everywhere(s3, bucket):
    with error("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key="missing")
    with error("404", 404):
        s3.head_object(Bucket=bucket, Key="missing")
    with error("NoSuchBucket", 404):
        s3.get_object(Bucket="no-such-bucket-anywhere", Key="missing")
