"""What a client meets below S3: bodies that are refused while they are sent, many headers."""

import http.client
import urllib.parse

import pytest


@pytest.mark.parametrize("size", [8_000_000, 64_000_000])
def test_a_conditional_write_that_is_refused_reads_its_answer_whatever_its_size(s3, service, bucket, size):
    s3.put_object(Bucket=bucket, Key="taken", Body=b"first")
    parameters = {"Bucket": bucket, "Key": "taken", "IfNoneMatch": "*"}
    url = urllib.parse.urlsplit(s3.generate_presigned_url("put_object", parameters))
    body = bytes(size)
    for _ in range(16):
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        # The whole body first, and only then a look at the answer.
        connection.request("PUT", f"{url.path}?{url.query}", body, {"If-None-Match": "*"})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 412, text
        assert b"<Code>PreconditionFailed</Code>" in text
        connection.close()
    assert s3.get_object(Bucket=bucket, Key="taken")["Body"].read() == b"first"


def test_metadata_of_many_short_headers_is_kept(s3, bucket, monkeypatch):
    # Python reads no answer of more than 100 headers by itself.
    monkeypatch.setattr(http.client, "_MAXHEADERS", 1_000)
    metadata = {f"m{number}": "v" for number in range(120)}
    s3.put_object(Bucket=bucket, Key="many", Body=b"x", Metadata=metadata)
    assert s3.head_object(Bucket=bucket, Key="many")["Metadata"] == metadata
