"""Signature version 2: what boto3 and version 1 of the aws CLI presign with by default, and in the header; the region."""

import base64
import datetime
import hashlib
import hmac
import secrets
import uuid

import boto3
import botocore.config
import pytest
import requests
from botocore.exceptions import ClientError

from conftest import Keys, Process, Service, free_port
from expect import error
from tools import run


def old_client(service, secret=None, **config):
    """A client as people make it: an endpoint, keys, and nothing that names a signature."""
    return boto3.client(
        "s3",
        endpoint_url=config.pop("endpoint_url", service.url),
        aws_access_key_id=service.keys.access_key,
        aws_secret_access_key=secret or service.keys.secret_key,
        region_name="us-east-1",
        config=botocore.config.Config(retries={"max_attempts": 1}, **config),
    )


def presigned(client, operation, expires=60, **parameters):
    url = client.generate_presigned_url(operation, Params=parameters, ExpiresIn=expires)
    assert "AWSAccessKeyId=" in url and "X-Amz-Signature" not in url, "this is about version 2"
    return url


def code(answer):
    return answer.text.partition("<Code>")[2].partition("</Code>")[0]


def test_the_defaults_of_boto3_presign_for_any_endpoint(service, bucket):
    client = old_client(service)
    key = "a dir/ü+&=?#%.txt"
    put = presigned(client, "put_object", Bucket=bucket, Key=key)
    assert requests.put(put, data=b"content").status_code == 200
    assert requests.get(presigned(client, "get_object", Bucket=bucket, Key=key)).content == b"content"
    assert requests.head(presigned(client, "head_object", Bucket=bucket, Key=key)).status_code == 200
    named = 'attachment; filename="a b&c+d.txt"'
    answer = requests.get(
        presigned(
            client, "get_object", Bucket=bucket, Key=key,
            ResponseContentDisposition=named, ResponseContentType="text/x-own",
        )
    )
    assert (answer.content, answer.headers["content-disposition"]) == (b"content", named)
    assert answer.headers["content-type"] == "text/x-own"
    listed = requests.get(presigned(client, "list_objects_v2", Bucket=bucket, Prefix="a dir/"))
    assert "<KeyCount>1</KeyCount>" in listed.text
    assert requests.delete(presigned(client, "delete_object", Bucket=bucket, Key=key)).status_code == 204
    assert requests.get(presigned(client, "get_object", Bucket=bucket, Key=key)).status_code == 404


def test_headers_that_were_signed_have_to_be_sent(service, bucket, s3):
    client = old_client(service)
    put = presigned(
        client, "put_object", Bucket=bucket, Key="k", ContentType="text/x-own", Metadata={"colour": "red"}
    )
    assert code(requests.put(put, data=b"1", headers={"content-type": "text/html"})) == "SignatureDoesNotMatch"
    assert requests.put(put, data=b"1", headers={"content-type": "text/x-own"}).status_code == 200
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ContentType"], head["Metadata"]) == ("text/x-own", {"colour": "red"})


def test_in_virtual_host_style(service, bucket):
    client = old_client(
        service, endpoint_url=f"http://localhost:{service.port}", s3={"addressing_style": "virtual"}
    )
    host = f"{bucket}.localhost:{service.port}"

    def ask(method, url, **options):
        assert url.startswith(f"http://{host}/"), url
        # No resolver is asked for the name.
        return requests.request(method, url.replace(host, f"127.0.0.1:{service.port}"), headers={"host": host}, **options)

    assert ask("PUT", presigned(client, "put_object", Bucket=bucket, Key="a/b"), data=b"virtual").status_code == 200
    get = presigned(client, "get_object", Bucket=bucket, Key="a/b")
    assert ask("GET", get).content == b"virtual"
    # Without the host's bucket it is another resource.
    moved = requests.get(get.replace(host, f"127.0.0.1:{service.port}"))
    assert code(moved) == "SignatureDoesNotMatch"


def test_what_is_refused(service, bucket, s3):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    client = old_client(service)
    expired = requests.get(presigned(client, "get_object", expires=-5, Bucket=bucket, Key="k"))
    assert (expired.status_code, code(expired)) == (403, "AccessDenied")
    assert "<Message>Request has expired</Message>" in expired.text
    other = old_client(service, secret="another secret key of nobody")
    wrong = requests.get(presigned(other, "get_object", Bucket=bucket, Key="k"))
    assert (wrong.status_code, code(wrong)) == (403, "SignatureDoesNotMatch")
    get = presigned(client, "get_object", Bucket=bucket, Key="k")
    assert requests.get(get).status_code == 200
    for more in ["&acl", "&uploadId=1", "&response-content-type=text/html", "&x-amz-acl=private"]:
        assert code(requests.get(get + more)) == "SignatureDoesNotMatch", more
    for changed in [get.replace("/k?", "/l?"), get.replace(bucket, bucket[:-1] + "x")]:
        assert code(requests.get(changed)) == "SignatureDoesNotMatch"
    assert code(requests.put(get, data=b"2")) == "SignatureDoesNotMatch"
    users = service.url + "/_cairn/admin/v1/users"
    assert requests.get(f"{users}?{get.partition('?')[2]}").status_code == 403


def test_a_client_that_signs_all_its_requests_so(service):
    client = old_client(service, signature_version="s3")
    bucket = f"test-{uuid.uuid4().hex[:16]}"
    client.create_bucket(Bucket=bucket)
    client.put_object(
        Bucket=bucket, Key="dir/a b+c.txt", Body=b"content", ContentType="text/plain", Metadata={"colour": "red"}
    )
    got = client.get_object(Bucket=bucket, Key="dir/a b+c.txt", ResponseCacheControl="no-store")
    assert (got["Body"].read(), got["CacheControl"], got["Metadata"]) == (b"content", "no-store", {"colour": "red"})
    client.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "dir/a b+c.txt"})
    upload = client.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = client.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"part")
    client.complete_multipart_upload(
        Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    )
    assert [object["Key"] for object in client.list_objects_v2(Bucket=bucket)["Contents"]] == ["copy", "dir/a b+c.txt", "parts"]
    assert client.get_bucket_acl(Bucket=bucket)["Owner"]
    deleted = client.delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": key} for key in ["copy", "dir/a b+c.txt", "parts"]]}
    )
    assert len(deleted["Deleted"]) == 3
    client.delete_bucket(Bucket=bucket)
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        old_client(service, secret="another secret key of nobody", signature_version="s3").list_buckets()


def test_a_date_must_be_near(service, bucket):
    def ask(moment):
        date = moment.strftime("%a, %d %b %Y %H:%M:%S GMT")
        text = f"GET\n\n\n{date}\n/{bucket}"
        mac = hmac.new(service.keys.secret_key.encode(), text.encode(), hashlib.sha1).digest()
        signature = base64.b64encode(mac).decode()
        return requests.get(
            f"{service.url}/{bucket}",
            headers={"date": date, "authorization": f"AWS {service.keys.access_key}:{signature}"},
        )

    now = datetime.datetime.now(datetime.timezone.utc)
    assert ask(now).status_code == 200
    for minutes in [-16, 16]:
        assert code(ask(now + datetime.timedelta(minutes=minutes))) == "RequestTimeTooSkewed"


def test_the_cli_presigns_with_its_defaults(service, bucket, s3):
    s3.put_object(Bucket=bucket, Key="k", Body=b"by the CLI")
    url = run("aws", "s3", "presign", f"s3://{bucket}/k", env=service.environment()).stdout.strip()
    assert requests.get(url).content == b"by the CLI"


@pytest.mark.parametrize("region", ["auto", "garage", "eu-west-1"])
def test_any_region_will_do(service, region):
    client = boto3.client(
        "s3", endpoint_url=service.url, aws_access_key_id=service.keys.access_key,
        aws_secret_access_key=service.keys.secret_key, region_name=region,
        config=botocore.config.Config(signature_version="s3v4", retries={"max_attempts": 1}),
    )
    bucket = f"test-{uuid.uuid4().hex[:16]}"
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
    client.put_object(Bucket=bucket, Key="k", Body=b"1")
    assert requests.get(
        client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    ).content == b"1"
    assert client.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None


def test_a_region_that_was_chosen_is_the_only_one_and_version_2_can_be_switched_off(tmp_path):
    keys, port = Keys("ROOTROOTROOTROOTROOT", secrets.token_hex(20)), free_port()
    environment = {
        "CAIRN_ROOT_ACCESS_KEY": keys.access_key,
        "CAIRN_ROOT_SECRET_KEY": keys.secret_key,
        "CAIRN_RESERVE": "64MiB",
        "CAIRN_SIGV2": "off",
    }
    process = Process(
        ["server", tmp_path / "disk", "--listen", f"127.0.0.1:{port}", "--rpc", f"127.0.0.1:{free_port()}",
         "--region", "eu-central-1"],
        environment, port, tmp_path / "log",
    )
    try:
        service = Service(process.url, port, keys, None)

        def client(region):
            return boto3.client(
                "s3", endpoint_url=service.url, aws_access_key_id=keys.access_key,
                aws_secret_access_key=keys.secret_key, region_name=region,
                config=botocore.config.Config(signature_version="s3v4", retries={"max_attempts": 1}),
            )

        right = client("eu-central-1")
        with error("InvalidLocationConstraint", 400):
            right.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        right.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        assert right.get_bucket_location(Bucket="bucket")["LocationConstraint"] == "eu-central-1"
        with pytest.raises(ClientError) as caught:
            client("eu-west-1").list_buckets()
        told = caught.value.response["Error"]
        assert (told["Code"], told["Region"]) == ("AuthorizationHeaderMalformed", "eu-central-1")
        with error("InvalidRequest", 400):
            old_client(service, signature_version="s3").list_buckets()
        url = presigned(old_client(service), "get_object", Bucket="bucket", Key="k")
        assert code(requests.get(url)) == "InvalidRequest"
    finally:
        process.stop()
