"""Signed and unsigned chunked bodies by raw requests, through a plain socket and through nginx with TLS."""

import base64
import datetime
import hashlib
import hmac
import socket
import subprocess
import textwrap
import urllib.parse
import zlib

import pytest
import requests

from conftest import free_port
from tools import run

EMPTY = hashlib.sha256(b"").hexdigest()


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Chunked:
    """An aws-chunked PUT, made by hand, so that each byte of it can be made wrong."""

    def __init__(self, service, path, body, mode, chunk=65536, trailer=None, host=None):
        self.now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        self.scope = f"{self.now[:8]}/us-east-1/s3/aws4_request"
        key = f"AWS4{service.keys.secret_key}".encode()
        for step in self.scope.split("/"):
            key = sign(key, step)
        self.key = key
        self.headers = {
            "host": host or f"127.0.0.1:{service.port}",
            "content-encoding": "aws-chunked,gzip",
            "x-amz-content-sha256": mode,
            "x-amz-date": self.now,
            "x-amz-decoded-content-length": str(len(body)),
        }
        if trailer:
            self.headers["x-amz-trailer"] = trailer[0]
        names = ";".join(sorted(self.headers))
        canonical = "".join(f"{name}:{self.headers[name]}\n" for name in sorted(self.headers))
        request = f"PUT\n{path}\n\n{canonical}\n{names}\n{mode}"
        digest = hashlib.sha256(request.encode()).hexdigest()
        self.previous = sign(key, f"AWS4-HMAC-SHA256\n{self.now}\n{self.scope}\n{digest}").hex()
        self.headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={service.keys.access_key}/{self.scope},"
            f"SignedHeaders={names},Signature={self.previous}"
        )
        signed = mode.startswith("STREAMING-AWS4")
        out = []
        for start in list(range(0, len(body), chunk)) + [len(body)]:
            piece = body[start : start + chunk]
            extension = f";chunk-signature={self.chunk_signature(piece)}" if signed else ""
            out.append(f"{len(piece):x}{extension}\r\n".encode() + piece + (b"\r\n" if piece or not trailer else b""))
        if trailer:
            line = f"{trailer[0]}:{trailer[1]}"
            out.append(f"{line}\r\n".encode())
            if signed:
                digest = hashlib.sha256(f"{line}\n".encode()).hexdigest()
                text = f"AWS4-HMAC-SHA256-TRAILER\n{self.now}\n{self.scope}\n{self.previous}\n{digest}"
                out.append(f"x-amz-trailer-signature:{sign(self.key, text).hex()}\r\n".encode())
            out.append(b"\r\n")
        self.body = b"".join(out)

    def chunk_signature(self, piece):
        digest = hashlib.sha256(piece).hexdigest()
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{self.now}\n{self.scope}\n{self.previous}\n{EMPTY}\n{digest}"
        self.previous = sign(self.key, text).hex()
        return self.previous


BODY = bytes(range(256)) * 1000
CRC32 = ("x-amz-checksum-crc32", base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode())
MODES = {
    "signed": ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", None),
    "signed-trailer": ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", CRC32),
    "unsigned-trailer": ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", CRC32),
}


@pytest.mark.parametrize("mode", MODES)
def test_a_chunked_body_is_decoded_and_checked(service, s3, bucket, mode):
    request = Chunked(service, f"/{bucket}/key", BODY, *MODES[mode][:1], trailer=MODES[mode][1])
    answer = requests.put(f"{service.url}/{bucket}/key", data=request.body, headers=request.headers, timeout=30)
    assert answer.status_code == 200, answer.text
    got = s3.get_object(Bucket=bucket, Key="key", ChecksumMode="ENABLED")
    assert got["Body"].read() == BODY
    assert got["ContentEncoding"] == "gzip", "aws-chunked is no encoding of the object"
    if MODES[mode][1]:
        assert got["ChecksumCRC32"] == CRC32[1]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("harm", ["byte", "cut", "trailer"])
def test_a_chunked_body_that_was_harmed_changes_nothing(service, s3, bucket, mode, harm):
    s3.put_object(Bucket=bucket, Key="key", Body=b"old")
    trailer = MODES[mode][1]
    if harm == "trailer":
        if not trailer:
            pytest.skip("this mode has no trailer")
        trailer = (trailer[0], base64.b64encode(b"\0\0\0\1").decode())
    request = Chunked(service, f"/{bucket}/key", BODY, MODES[mode][0], trailer=trailer)
    body = bytearray(request.body)
    if harm == "byte":
        body[100_000] ^= 1
    if harm == "cut":
        del body[150_000:]
    answer = requests.put(f"{service.url}/{bucket}/key", data=bytes(body), headers=request.headers, timeout=30)
    assert 400 <= answer.status_code < 500, answer.text
    codes = {
        "byte": {"signed": "SignatureDoesNotMatch", "signed-trailer": "SignatureDoesNotMatch", "unsigned-trailer": "BadDigest"}[mode],
        "cut": "IncompleteBody",
        "trailer": "BadDigest",
    }
    assert f"<Code>{codes[harm]}</Code>" in answer.text
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"old"


def test_a_signed_hash_that_is_not_the_bodys_is_refused(service, s3, bucket):
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest("PUT", f"{service.url}/{bucket}/key", data=b"signed bytes")
    S3SigV4Auth(Credentials(service.keys.access_key, service.keys.secret_key), "s3", "us-east-1").add_auth(request)
    headers = dict(request.headers)
    if "x-amz-content-sha256" not in {name.lower() for name in headers}:
        pytest.fail("the signer left the hash out")
    if headers.get("X-Amz-Content-SHA256") == "UNSIGNED-PAYLOAD":
        pytest.skip("this signer does not sign the body over plain HTTP")
    answer = requests.put(f"{service.url}/{bucket}/key", data=b"signed bytez", headers=headers, timeout=10)
    assert answer.status_code == 400 and "<Code>XAmzContentSHA256Mismatch</Code>" in answer.text


def exchange(service, head, body=b"", wait=b""):
    """Writes a request by hand; where `wait` is given, sends the body only after the answer starts with it."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(head)
        answer = b""
        if wait:
            answer = connection.recv(65536)
            if not answer.startswith(wait):
                return answer
        connection.sendall(body)
        while b"\r\n\r\n" not in answer:
            piece = connection.recv(65536)
            if not piece:
                break
            answer += piece
        return answer


def test_a_refused_upload_is_refused_before_its_body(service, bucket):
    head = (
        f"PUT /{bucket}/key HTTP/1.1\r\nhost: 127.0.0.1:{service.port}\r\n"
        f"content-length: 1000000\r\nexpect: 100-continue\r\n\r\n"
    ).encode()
    assert exchange(service, head, wait=b"HTTP/1.1 100").startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(("condition", "status"), [("IfNoneMatch", 412), ("IfMatch", 404)])
def test_an_upload_whose_condition_does_not_hold_is_refused_before_its_body(service, s3, bucket, condition, status):
    key = "there" if condition == "IfNoneMatch" else "missing"
    s3.put_object(Bucket=bucket, Key="there", Body=b"first")
    params = {"Bucket": bucket, "Key": key, condition: "*"}
    target = urllib.parse.urlsplit(s3.generate_presigned_url("put_object", Params=params))
    header = "if-none-match" if condition == "IfNoneMatch" else "if-match"
    head = (
        f"PUT {target.path}?{target.query} HTTP/1.1\r\nhost: {target.netloc}\r\n{header}: *\r\n"
        f"content-length: 1000000\r\nexpect: 100-continue\r\n\r\n"
    ).encode()
    assert exchange(service, head, wait=b"HTTP/1.1 100").startswith(f"HTTP/1.1 {status}".encode())
    assert s3.get_object(Bucket=bucket, Key="there")["Body"].read() == b"first"


def test_an_early_refusal_is_readable_by_a_client_that_sends_on(service, bucket):
    body = b"x" * 1_000_000
    head = f"PUT /{bucket}/key HTTP/1.1\r\nhost: 127.0.0.1:{service.port}\r\ncontent-length: {len(body)}\r\n\r\n"
    assert exchange(service, head.encode(), body).startswith(b"HTTP/1.1 403")


def test_a_head_error_has_no_body(service, s3, bucket):
    url = s3.generate_presigned_url("head_object", Params={"Bucket": bucket, "Key": "missing"})
    answer = requests.head(url, timeout=10)
    assert answer.status_code == 404 and answer.content == b"" and "x-amz-request-id" in answer.headers


@pytest.fixture(scope="module")
def tls(tmp_path_factory, cluster, user):
    """nginx with TLS in front of the server: botocore sends trailers over TLS only."""
    directory = tmp_path_factory.mktemp("nginx")
    run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost", "-keyout", directory / "key.pem", "-out", directory / "cert.pem",
    )
    port = free_port()
    (directory / "nginx.conf").write_text(textwrap.dedent(f"""
        daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log;
        events {{}}
        http {{
            access_log off; client_max_body_size 0; client_body_temp_path {directory}/body;
            proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u;
            scgi_temp_path {directory}/s;
            server {{
                listen 127.0.0.1:{port} ssl;
                ssl_certificate {directory}/cert.pem; ssl_certificate_key {directory}/key.pem;
                location / {{
                    proxy_pass {cluster.server.url}; proxy_http_version 1.1; proxy_request_buffering off;
                    proxy_set_header Host $http_host; proxy_set_header Connection "";
                }}
            }}
        }}
    """))
    child = subprocess.Popen(["nginx", "-p", directory, "-c", directory / "nginx.conf"])
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert child.poll() is None
            import time

            time.sleep(0.05)
    yield f"https://localhost:{port}", directory / "cert.pem"
    child.terminate()
    child.wait(10)


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_boto_sends_trailers_through_nginx_with_tls(tls, cluster, user, algorithm):
    import boto3
    from botocore.config import Config

    url, certificate = tls
    client = boto3.client(
        "s3", endpoint_url=url, verify=str(certificate), region_name="us-east-1",
        aws_access_key_id=user.access_key, aws_secret_access_key=user.secret_key,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1, "mode": "standard"}),
    )
    bucket = f"tls-{algorithm.lower()}"
    client.create_bucket(Bucket=bucket)
    sent = []
    client.meta.events.register("before-send.s3.PutObject", lambda request, **_: sent.append(dict(request.headers)) or None)
    answer = client.put_object(Bucket=bucket, Key="key", Body=BODY, ChecksumAlgorithm=algorithm)
    assert f"Checksum{algorithm}" in answer
    assert any("x-amz-trailer" in {name.lower() for name in headers} for headers in sent), sent
    assert client.get_object(Bucket=bucket, Key="key", ChecksumMode="ENABLED")["Body"].read() == BODY
