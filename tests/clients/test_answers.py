"""What a client's own parsers make of the answers: XML of keys that XML cannot carry, metadata that is not ASCII."""

import email.header
import xml.etree.ElementTree

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
import requests

from expect import error

NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@pytest.fixture
def send(s3, bucket):
    """Signs and sends a request to the bucket, byte for byte as it is given."""
    credentials = s3._request_signer._credentials

    def send(method, target="", headers=None, body=b""):
        url = f"{s3.meta.endpoint_url}/{bucket}{target}"
        request = botocore.awsrequest.AWSRequest(method, url, headers=headers or {}, data=body)
        botocore.auth.S3SigV4Auth(credentials, "s3", s3.meta.region_name).add_auth(request)
        sent = {name: value.encode() for name, value in request.headers.items()}
        return requests.request(method, url, headers=sent, data=body, timeout=30)

    return send


@pytest.mark.parametrize("query", ["", "?list-type=2", "?versions"])
def test_a_list_of_any_key_can_be_parsed(s3, bucket, send, query):
    keys = ["a\x01b", "a\uffff", "plain", "d e", "\u00e9", "a%41+b"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"1")
    document = xml.etree.ElementTree.fromstring(send("GET", query).content)
    assert document.find(f"{NAMESPACE}EncodingType").text == "url"
    named = [requests.utils.unquote(key.text) for key in document.iter(f"{NAMESPACE}Key")]
    assert sorted(named) == sorted(keys)
    # For who decodes nothing, the others are what they are.
    assert {"plain", "d e", "\u00e9"} <= {key.text for key in document.iter(f"{NAMESPACE}Key")}
    assert sorted(entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]) == sorted(keys)


def test_an_error_about_any_key_can_be_parsed(send):
    document = xml.etree.ElementTree.fromstring(send("GET", "/no%01such").content)
    assert (document.find("Code").text, document.find("Key").text) == ("NoSuchKey", "no\ufffdsuch")


def test_a_control_character_in_a_document_deletes_nothing(s3, bucket, send):
    s3.put_object(Bucket=bucket, Key="key", Body=b"1")
    raw = b"<Delete><Object><Key>key</Key></Object><Object><Key>a\x01</Key></Object></Delete>"
    refused = send("POST", "?delete", body=raw)
    assert (refused.status_code, "<Code>MalformedXML</Code>" in refused.text) == (400, True)
    assert s3.head_object(Bucket=bucket, Key="key")["ContentLength"] == 1


def test_metadata_in_utf_8_is_given_back_in_encoded_words(bucket, send):
    text = "\u65e5\u672c\u8a9e and \u00c4M\u00c4Z\u00d5\u00d1 " * 6
    assert send("PUT", "/key", {"x-amz-meta-a": text.strip(), "x-amz-meta-b": "plain"}).status_code == 200
    got = send("HEAD", "/key").headers
    assert got["x-amz-meta-b"] == "plain"
    assert got["x-amz-meta-a"].isascii()
    words = email.header.decode_header(got["x-amz-meta-a"])
    assert "".join(word.decode(charset) for word, charset in words) == text.strip()


def test_an_override_outside_iso_8859_1_is_refused(s3, bucket):
    s3.put_object(Bucket=bucket, Key="key", Body=b"1")
    with error("InvalidArgument", 400):
        s3.get_object(Bucket=bucket, Key="key", ResponseContentDisposition="attachment; filename=\u65e5")
    got = s3.get_object(Bucket=bucket, Key="key", ResponseContentDisposition="attachment; filename=\u00e9")
    assert got["ContentDisposition"] == "attachment; filename=\u00e9"


def test_the_end_of_an_empty_object(s3, bucket):
    s3.put_object(Bucket=bucket, Key="key", Body=b"")
    got = s3.get_object(Bucket=bucket, Key="key", Range="bytes=-5")
    assert (got["ResponseMetadata"]["HTTPStatusCode"], got["ContentLength"]) == (200, 0)
    with error("InvalidRange", 416):
        s3.get_object(Bucket=bucket, Key="key", Range="bytes=0-")
