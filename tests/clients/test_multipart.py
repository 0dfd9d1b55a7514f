"""Multipart uploads: parts, completion, what is refused, and lists."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from expect import error

PART = 5 << 20


def data(size, seed):
    return hashlib.shake_128(f"{seed}/{size}".encode()).digest(size)


def start(s3, bucket, key="key", **options):
    return s3.create_multipart_upload(Bucket=bucket, Key=key, **options)["UploadId"]


def put(s3, bucket, upload, number, body, key="key", **options):
    answer = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body, **options)
    return {"PartNumber": number, "ETag": answer["ETag"]}


def complete(s3, bucket, upload, parts, key="key", **options):
    return s3.complete_multipart_upload(
        Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **options
    )


def test_parts_become_an_object(s3, bucket):
    bodies = [data(PART, 1), data(PART + 77, 2), data(9 << 20, 3), data(3, 4)]
    upload = start(s3, bucket, ContentType="a/b", Metadata={"m": "1"})
    parts = [put(s3, bucket, upload, number * 10 + 1, body) for number, body in enumerate(bodies)]
    with error("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key="key")
    done = complete(s3, bucket, upload, parts)
    whole = b"".join(bodies)
    digest = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in bodies)).hexdigest()
    assert done["ETag"] == f'"{digest}-4"'
    got = s3.get_object(Bucket=bucket, Key="key")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (whole, "a/b", {"m": "1"})
    for first, last in [(0, 10), (PART - 5, PART + 5), (PART * 2 + 70, PART * 2 + 90), (len(whole) - 5, len(whole) - 1)]:
        got = s3.get_object(Bucket=bucket, Key="key", Range=f"bytes={first}-{last}")
        assert got["Body"].read() == whole[first : last + 1]
    got = s3.get_object(Bucket=bucket, Key="key", PartNumber=11)
    assert (got["PartsCount"], got["Body"].read()) == (4, bodies[1])
    assert s3.head_object(Bucket=bucket, Key="key", PartNumber=31)["ContentLength"] == 3
    with error("InvalidPartNumber", 416):
        s3.get_object(Bucket=bucket, Key="key", PartNumber=2)
    again = complete(s3, bucket, upload, parts)
    assert again["ETag"] == done["ETag"], "a repeated identical Complete answers the same"
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "key"})
    s3.delete_object(Bucket=bucket, Key="key")
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == whole


def test_what_cannot_be_completed_leaves_the_upload_open(s3, bucket):
    upload = start(s3, bucket)
    one, two = put(s3, bucket, upload, 1, data(PART, 1)), put(s3, bucket, upload, 2, b"small")
    three = put(s3, bucket, upload, 3, b"last")
    with error("InvalidPartOrder", 400):
        complete(s3, bucket, upload, [two, one])
    with error("EntityTooSmall", 400):
        complete(s3, bucket, upload, [one, two, three])
    with error("InvalidPart", 400):
        complete(s3, bucket, upload, [one, {"PartNumber": 4, "ETag": one["ETag"]}])
    with error("InvalidPart", 400):
        complete(s3, bucket, upload, [one, {"PartNumber": 2, "ETag": one["ETag"]}])
    with error("MalformedXML", 400):
        complete(s3, bucket, upload, [])
    with error("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key="key")
    complete(s3, bucket, upload, [one, two])
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == data(PART, 1) + b"small"
    with error("NoSuchUpload", 404):
        complete(s3, bucket, upload, [one])
    with error("NoSuchUpload", 404):
        put(s3, bucket, upload, 1, b"late")


def test_a_part_put_again_replaces_the_first(s3, bucket):
    upload = start(s3, bucket)
    first = put(s3, bucket, upload, 1, b"first")
    second = put(s3, bucket, upload, 1, b"second")
    with error("InvalidPart", 400):
        complete(s3, bucket, upload, [first])
    complete(s3, bucket, upload, [second])
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"second"


def test_bad_numbers_ids_and_an_abort(s3, bucket):
    upload = start(s3, bucket)
    for number in [0, 10001]:
        with error("InvalidArgument", 400):
            put(s3, bucket, upload, number, b"x")
    with error("NoSuchUpload", 404):
        put(s3, bucket, "0" * 32, 1, b"x")
    with error("NoSuchUpload", 404):
        put(s3, bucket, "nonsense", 1, b"x")
    with error("NoSuchUpload", 404):
        put(s3, bucket, upload, 1, b"x", key="other")
    put(s3, bucket, upload, 10000, b"x")
    s3.abort_multipart_upload(Bucket=bucket, Key="key", UploadId=upload)
    with error("NoSuchUpload", 404):
        s3.list_parts(Bucket=bucket, Key="key", UploadId=upload)
    with error("NoSuchUpload", 404):
        s3.abort_multipart_upload(Bucket=bucket, Key="key", UploadId=upload)


def test_parts_copied_from_objects(s3, bucket):
    body = data(12 << 20, 9)
    s3.put_object(Bucket=bucket, Key="source", Body=body)
    upload = start(s3, bucket)

    def copy(number, range=None):
        options = {"CopySourceRange": range} if range else {}
        answer = s3.upload_part_copy(
            Bucket=bucket, Key="key", UploadId=upload, PartNumber=number,
            CopySource={"Bucket": bucket, "Key": "source"}, **options,
        )
        return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

    one, two = copy(1, f"bytes=5-{PART + 4}"), copy(2)
    assert one["ETag"] == f'"{hashlib.md5(body[5 : PART + 5]).hexdigest()}"'
    with error("InvalidArgument", 400):
        copy(3, "bytes=0-99999999")
    for bad in ["bytes=5-4", "bytes=5-", "0-5"]:
        with error("InvalidArgument", 400):
            copy(3, bad)
    complete(s3, bucket, upload, [one, two])
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == body[5 : PART + 5] + body


def test_conditions_on_complete(s3, bucket):
    s3.put_object(Bucket=bucket, Key="key", Body=b"old")
    upload = start(s3, bucket)
    part = put(s3, bucket, upload, 1, b"new")
    with error("PreconditionFailed", 412):
        complete(s3, bucket, upload, [part], IfNoneMatch="*")
    with error("PreconditionFailed", 412):
        complete(s3, bucket, upload, [part], IfMatch='"0123456789abcdef0123456789abcdef"')
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"old"
    complete(s3, bucket, upload, [part], IfMatch=s3.head_object(Bucket=bucket, Key="key")["ETag"])
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"new"


def test_parts_are_listed_in_pages(s3, bucket, user):
    upload = start(s3, bucket)
    numbers = [1, 5, 7, 100, 9999]
    for number in numbers:
        put(s3, bucket, upload, number, data(number, number))
    seen, marker = [], 0
    while True:
        page = s3.list_parts(Bucket=bucket, Key="key", UploadId=upload, MaxParts=2, PartNumberMarker=marker)
        seen += [(part["PartNumber"], part["Size"]) for part in page["Parts"]]
        if not page["IsTruncated"]:
            break
        marker = page["NextPartNumberMarker"]
    assert seen == [(number, number) for number in numbers]
    assert page["Initiator"]["ID"] == user.user_id and page["StorageClass"] == "STANDARD"


def test_uploads_are_listed_by_key_and_in_pages(s3, bucket):
    keys = ["a", "b/1", "b/1", "b/2", "c"]
    uploads = [(key, start(s3, bucket, key)) for key in keys]
    listed = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert sorted((entry["Key"], entry["UploadId"]) for entry in listed) == sorted(uploads)
    assert [entry["Key"] for entry in listed] == keys
    page = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [entry["Key"] for entry in page["Uploads"]] == ["a", "c"]
    assert [entry["Prefix"] for entry in page["CommonPrefixes"]] == ["b/"]
    assert len(s3.list_multipart_uploads(Bucket=bucket, Prefix="b/")["Uploads"]) == 3
    seen, markers = [], {}
    while True:
        page = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=2, **markers)
        seen += [(entry["Key"], entry["UploadId"]) for entry in page["Uploads"]]
        if not page["IsTruncated"]:
            break
        markers = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    assert sorted(seen) == sorted(uploads) and len(seen) == 5


def test_an_object_of_parts_tells_its_parts(s3, bucket):
    upload = start(s3, bucket, ChecksumAlgorithm="CRC32C", ChecksumType="COMPOSITE")
    parts = []
    for number, body in [(2, data(PART, 1)), (4, b"tail")]:
        answer = s3.upload_part(
            Bucket=bucket, Key="key", UploadId=upload, PartNumber=number, Body=body, ChecksumAlgorithm="CRC32C"
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32C": answer["ChecksumCRC32C"]})
    done = complete(s3, bucket, upload, parts)
    assert done["ChecksumType"] == "COMPOSITE" and done["ChecksumCRC32C"].endswith("-2")
    answer = s3.get_object_attributes(Bucket=bucket, Key="key", ObjectAttributes=["ObjectParts", "Checksum"])
    assert answer["ObjectParts"]["TotalPartsCount"] == 2
    assert [(part["PartNumber"], part["Size"]) for part in answer["ObjectParts"]["Parts"]] == [(2, PART), (4, 4)]


def test_an_upload_of_many_parts_completes_in_time(s3, bucket):
    body = data(PART, 1)
    upload = start(s3, bucket)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda number: put(s3, bucket, upload, number, body), range(1, 41)))
    assert complete(s3, bucket, upload, parts)["ETag"].endswith('-40"')
    assert s3.head_object(Bucket=bucket, Key="key")["ContentLength"] == 40 * PART


@pytest.mark.parametrize("parts", [10_000])
def test_ten_thousand_parts_that_are_too_small_are_judged_in_time(s3, bucket, parts):
    """As many parts as there may be; all empty but the last would be too small, so one number is completed."""
    upload = start(s3, bucket)
    named = put(s3, bucket, upload, parts, b"the only one")
    complete(s3, bucket, upload, [named])
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"the only one"
