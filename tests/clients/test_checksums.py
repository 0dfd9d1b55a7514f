"""Checksums: in headers and trailers, kept, given back, and refused where they do not hold."""

import base64
import hashlib
import zlib

import botocore.auth
import botocore.awsrequest
import pytest
import requests
from awscrt import checksums as crt

from expect import error

BODY = bytes(range(256)) * 700


def of(algorithm, body):
    if algorithm == "CRC32":
        return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    if algorithm == "CRC32C":
        return base64.b64encode(crt.crc32c(body).to_bytes(4, "big")).decode()
    if algorithm == "CRC64NVME":
        return base64.b64encode(crt.crc64nvme(body).to_bytes(8, "big")).decode()
    xxhash = {
        "XXHASH64": crt.XXHash.compute_xxhash64,
        "XXHASH3": crt.XXHash.compute_xxhash3_64,
        "XXHASH128": crt.XXHash.compute_xxhash3_128,
    }
    if algorithm in xxhash:
        return base64.b64encode(xxhash[algorithm](body)).decode()
    return base64.b64encode(hashlib.new(algorithm.lower(), body).digest()).decode()


ALGORITHMS = [
    "CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128",
]  # fmt: skip
COMPOSITE = [algorithm for algorithm in ALGORITHMS if algorithm != "CRC64NVME"]
CRCS = ["CRC32", "CRC32C", "CRC64NVME"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [0, 1000, len(BODY)])
def test_a_checksum_is_checked_kept_and_given_back(s3, bucket, algorithm, size):
    body, name = BODY[:size], f"Checksum{algorithm}"
    answer = s3.put_object(Bucket=bucket, Key="key", Body=body, **{name: of(algorithm, body)})
    assert (answer[name], answer["ChecksumType"]) == (of(algorithm, body), "FULL_OBJECT")
    for read in [s3.get_object, s3.head_object]:
        answer = read(Bucket=bucket, Key="key", ChecksumMode="ENABLED")
        assert (answer[name], answer["ChecksumType"]) == (of(algorithm, body), "FULL_OBJECT")
    if size:
        answer = s3.get_object(Bucket=bucket, Key="key", ChecksumMode="ENABLED", Range="bytes=0-9")
        assert name not in answer, "no whole-object checksum on a 206"
        answer["Body"].read()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_that_does_not_hold_changes_nothing(s3, bucket, algorithm):
    s3.put_object(Bucket=bucket, Key="key", Body=b"old")
    with error("BadDigest", 400):
        s3.put_object(Bucket=bucket, Key="key", Body=BODY, **{f"Checksum{algorithm}": of(algorithm, b"other")})
    for rubbish in ["bm90IGl0", "rubbish"]:
        with error("InvalidRequest", 400):
            s3.put_object(Bucket=bucket, Key="key", Body=BODY, **{f"Checksum{algorithm}": rubbish})
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"old"


def test_content_md5(s3, bucket):
    right = base64.b64encode(hashlib.md5(BODY).digest()).decode()
    s3.put_object(Bucket=bucket, Key="key", Body=BODY, ContentMD5=right)
    with error("BadDigest", 400):
        s3.put_object(Bucket=bucket, Key="key", Body=b"other", ContentMD5=right)
    with error("InvalidDigest", 400):
        s3.put_object(Bucket=bucket, Key="key", Body=b"other", ContentMD5="nonsense")
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == BODY


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_the_checksum_of_the_whole_is_made_of_those_of_the_parts(s3, bucket, algorithm):
    bodies = [BODY * 40, BODY * 30 + b"x", b"tail"]
    name = f"Checksum{algorithm}"
    upload = s3.create_multipart_upload(
        Bucket=bucket, Key="key", ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT"
    )["UploadId"]
    parts = []
    for number, body in enumerate(bodies, 1):
        answer = s3.upload_part(
            Bucket=bucket, Key="key", UploadId=upload, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm
        )
        assert answer[name] == of(algorithm, body)
        parts.append({"PartNumber": number, "ETag": answer["ETag"], name: answer[name]})
    whole = of(algorithm, b"".join(bodies))
    arguments = {"Bucket": bucket, "Key": "key", "UploadId": upload, "MultipartUpload": {"Parts": parts}}
    with error("BadDigest", 400):
        s3.complete_multipart_upload(**arguments, ChecksumType="FULL_OBJECT", **{name: of(algorithm, b"other")})
    done = s3.complete_multipart_upload(**arguments, ChecksumType="FULL_OBJECT", **{name: whole})
    assert (done[name], done["ChecksumType"]) == (whole, "FULL_OBJECT")
    assert s3.head_object(Bucket=bucket, Key="key", ChecksumMode="ENABLED")[name] == whole


@pytest.mark.parametrize("algorithm", COMPOSITE)
def test_a_composite_checksum_is_of_the_checksums(s3, bucket, algorithm):
    bodies = [BODY * 40, b"tail"]
    name = f"Checksum{algorithm}"
    upload = s3.create_multipart_upload(
        Bucket=bucket, Key="key", ChecksumAlgorithm=algorithm, ChecksumType="COMPOSITE"
    )["UploadId"]
    parts = []
    for number, body in enumerate(bodies, 1):
        answer = s3.upload_part(
            Bucket=bucket, Key="key", UploadId=upload, PartNumber=number, Body=body, **{name: of(algorithm, body)}
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"], name: answer[name]})
    done = s3.complete_multipart_upload(
        Bucket=bucket, Key="key", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    raw = b"".join(base64.b64decode(part[name]) for part in parts)
    assert done[name] == f"{of(algorithm, raw)}-2"
    for read in [s3.get_object, s3.head_object]:
        seen = read(Bucket=bucket, Key="key", ChecksumMode="ENABLED")
        assert (seen[name], seen["ChecksumType"]) == (done[name], "COMPOSITE")
    # Without the number of parts, other than above.
    seen = s3.get_object_attributes(Bucket=bucket, Key="key", ObjectAttributes=["Checksum", "ObjectParts"])
    assert seen["Checksum"] == {name: of(algorithm, raw), "ChecksumType": "COMPOSITE"}
    assert [part[name] for part in seen["ObjectParts"]["Parts"]] == [of(algorithm, body) for body in bodies]


def test_a_type_that_an_algorithm_does_not_have_is_refused(s3, bucket):
    full = [(algorithm, "FULL_OBJECT") for algorithm in ALGORITHMS if algorithm not in CRCS]
    for algorithm, kind in [("CRC64NVME", "COMPOSITE"), *full]:
        with error("InvalidRequest", 400):
            s3.create_multipart_upload(Bucket=bucket, Key="key", ChecksumAlgorithm=algorithm, ChecksumType=kind)


@pytest.mark.parametrize("algorithm", ["SHA512", "XXHASH64", "XXHASH3", "XXHASH128"])
def test_the_sdk_sends_the_younger_ones_in_trailers_too(s3, bucket, algorithm):
    answer = s3.put_object(Bucket=bucket, Key="key", Body=BODY, ChecksumAlgorithm=algorithm)
    assert answer[f"Checksum{algorithm}"] == of(algorithm, BODY)


def quiet(service):
    """A client that sends no checksums by itself."""
    return service.client(request_checksum_calculation="when_required")


def test_what_comes_without_a_checksum_gets_crc64nvme_over_the_whole(service, bucket):
    s3 = quiet(service)
    assert s3.put_object(Bucket=bucket, Key="one", Body=BODY)["ChecksumCRC64NVME"] == of("CRC64NVME", BODY)
    bodies = [BODY * 40, b"tail"]
    place = {"Bucket": bucket, "Key": "key"}
    upload = s3.create_multipart_upload(**place)["UploadId"]
    parts = []
    for number, body in enumerate(bodies, 1):
        answer = s3.upload_part(**place, UploadId=upload, PartNumber=number, Body=body)
        assert answer["ChecksumCRC64NVME"] == of("CRC64NVME", body)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})
    seen = s3.head_object(**place, ChecksumMode="ENABLED")
    assert (seen["ChecksumCRC64NVME"], seen["ChecksumType"]) == (of("CRC64NVME", b"".join(bodies)), "FULL_OBJECT")


def test_two_checksums_at_once_are_refused(s3, bucket):
    with error("InvalidRequest", 400) as caught:
        s3.put_object(
            Bucket=bucket, Key="key", Body=BODY, ChecksumCRC32=of("CRC32", BODY), ChecksumSHA1=of("SHA1", BODY)
        )
    message = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
    assert caught.value.response["Error"]["Message"] == message


def test_a_checksum_in_the_query_of_a_presigned_put_is_signed_and_not_checked(service, bucket, s3):
    """As S3 has it: the JavaScript SDK presigns with the CRC32 of an empty body, whatever will be sent.

    Sources: github.com/localstack/localstack/issues/12169, github.com/ministackorg/ministack/issues/1695 and
    github.com/aws/aws-sdk-go-v2/issues/2610, each of which reports it of S3.
    """
    query = "x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32&x-id=PutObject"
    url = f"{service.url}/{bucket}/key?{query}"
    credentials = s3._request_signer._credentials
    request = botocore.awsrequest.AWSRequest("PUT", url)
    botocore.auth.S3SigV4QueryAuth(credentials, "s3", "us-east-1", expires=60).add_auth(request)
    for body in [BODY, b"other", b""]:
        answer = requests.put(request.url, data=body)
        assert answer.status_code == 200, answer.text
        assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == body
    assert requests.put(request.url.replace("AAAAAA", "AAAAAB"), data=BODY).status_code == 403


@pytest.fixture
def with_headers(s3):
    """Sends one request with headers that boto3 has no parameters for."""

    def send(call, headers, **parameters):
        def add(params, **_):
            params["headers"].update(headers)

        s3.meta.events.register("before-call.s3", add)
        try:
            return call(**parameters)
        finally:
            s3.meta.events.unregister("before-call.s3", add)

    return send


def test_a_check_that_an_operation_does_not_make_is_refused(s3, bucket, with_headers):
    s3.put_object(Bucket=bucket, Key="key", Body=BODY)
    source = {"Bucket": bucket, "Key": "key"}
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = {"Bucket": bucket, "Key": "parts", "UploadId": upload, "PartNumber": 1}
    copy = {"Bucket": bucket, "Key": "copy", "CopySource": source}
    wrong = {f"x-amz-checksum-{algorithm.lower()}": of(algorithm, b"other") for algorithm in ALGORITHMS}
    for name, value in wrong.items():
        for call, parameters in [
            (s3.copy_object, copy),
            (s3.upload_part_copy, {**part, "CopySource": source}),
            (s3.create_multipart_upload, {"Bucket": bucket, "Key": "new"}),
        ]:
            with error("NotImplemented", 501):
                with_headers(call, {name: value}, **parameters)
    for call, parameters, headers in [
        (s3.copy_object, copy, {"x-amz-copy-source-range": "bytes=0-9"}),
        (s3.put_object, {"Bucket": bucket, "Key": "copy"}, {"x-amz-copy-source-range": "bytes=0-9"}),
        (s3.put_object, {"Bucket": bucket, "Key": "copy"}, {"x-amz-copy-source-if-match": "x"}),
        (s3.upload_part, {**part, "Body": b"x"}, {"If-None-Match": "*"}),
        (s3.upload_part_copy, {**part, "CopySource": source}, {"If-Match": "x"}),
        (s3.create_multipart_upload, {"Bucket": bucket, "Key": "new"}, {"If-None-Match": "*"}),
        (s3.delete_bucket, {"Bucket": bucket}, {"If-Match": "x"}),
        (s3.put_object, {"Bucket": bucket, "Key": "copy"}, {"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}),
        (s3.delete_object, {"Bucket": bucket, "Key": "key"}, {"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}),
    ]:
        with error("NotImplemented", 501):
            with_headers(call, headers, **parameters)
    assert [object["Key"] for object in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["key"]
    assert "Parts" not in s3.list_parts(Bucket=bucket, Key="parts", UploadId=upload)
    # What a copy's checksum is to be made by is another header.
    answer = s3.copy_object(**copy, ChecksumAlgorithm="SHA256")["CopyObjectResult"]
    assert answer["ChecksumSHA256"] == of("SHA256", BODY)
    assert with_headers(s3.upload_part_copy, {"x-amz-copy-source-range": "bytes=0-9"}, **part, CopySource=source)


def test_parts_of_several_algorithms_become_no_object(s3, bucket, with_headers):
    body = bytes(5 << 20)

    def create():
        # Without an algorithm, which boto3 names by itself.
        def forget(params, **_):
            params["headers"].pop("x-amz-checksum-algorithm", None)

        s3.meta.events.register("before-call.s3.CreateMultipartUpload", forget)
        try:
            return s3.create_multipart_upload(Bucket=bucket, Key="key")["UploadId"]
        finally:
            s3.meta.events.unregister("before-call.s3.CreateMultipartUpload", forget)

    def put(upload, number, algorithm):
        answer = s3.upload_part(
            Bucket=bucket, Key="key", UploadId=upload, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm
        )
        return {"PartNumber": number, "ETag": answer["ETag"]}

    upload = create()
    parts = [put(upload, 1, "CRC32C"), put(upload, 2, "CRC32")]
    named = {"Bucket": bucket, "Key": "key", "UploadId": upload}
    with error("InvalidRequest", 400):
        s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    parts = [put(upload, number, "CRC64NVME") for number in (1, 2)]
    answer = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    assert (answer["ChecksumCRC64NVME"], answer["ChecksumType"]) == (of("CRC64NVME", body * 2), "FULL_OBJECT")

    # The default, which a part gets that comes without one, is no mix: the object has none.
    upload = create()
    s3.put_object(Bucket=bucket, Key="source", Body=body)
    copied = s3.upload_part_copy(
        Bucket=bucket, Key="key", UploadId=upload, PartNumber=2, CopySource={"Bucket": bucket, "Key": "source"}
    )["CopyPartResult"]["ETag"]
    parts = [put(upload, 1, "CRC32"), {"PartNumber": 2, "ETag": copied}]
    s3.complete_multipart_upload(Bucket=bucket, Key="key", UploadId=upload, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == body * 2
