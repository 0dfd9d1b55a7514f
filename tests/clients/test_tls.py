"""S3 over TLS: a server with a certificate of its own, a gateway with one that is renewed, and one in the clear."""

import hashlib
import json
import os
import re
import secrets
import shutil
import ssl
import stat
import time
import uuid

import boto3
import botocore.config
import pytest
import requests

from conftest import BINARY, REGION, Keys, Process, free_port
from tools import make_file, run, sha256

CONFIGURATION = """
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = Cairn
[extensions]
basicConstraints = CA:FALSE
subjectAltName = DNS:localhost, IP:127.0.0.1
"""


class Nodes:
    """A server with its own certificate, and two gateways: one with certificate files, one without TLS."""

    def __init__(self, directory):
        self.directory = directory
        self.root = Keys("ROOTROOTROOTROOTROOT", secrets.token_hex(20))
        self.environment = {
            "CAIRN_ROOT_ACCESS_KEY": self.root.access_key,
            "CAIRN_ROOT_SECRET_KEY": self.root.secret_key,
            "CAIRN_CLUSTER_SECRET": secrets.token_hex(32),
            "CAIRN_RESERVE": "64MiB",
        }
        self.rpc = free_port()
        self.processes = []
        disks = [directory / f"disk{number}" for number in range(1, 4)]
        self.server = self.start(
            "server", *disks, "--rpc", f"127.0.0.1:{self.rpc}", "--tls-self-signed",
            ca=disks[0] / "tls-certificate.pem",
        )
        self.plain = self.gateway()
        self.certificate, self.key = directory / "certificate.pem", directory / "key.pem"
        make_certificate(directory, self.certificate, self.key)
        self.metrics = f"127.0.0.1:{free_port()}"
        self.renewed = self.gateway(
            *pair(self.certificate, self.key), "--metrics", self.metrics, ca=self.certificate
        )

    def gateway(self, *arguments, ca=None):
        return self.start("gateway", "--join", f"127.0.0.1:{self.rpc}", *arguments, ca=ca)

    def start(self, *arguments, ca=None):
        port = free_port()
        arguments = [*arguments, "--listen", f"127.0.0.1:{port}"]
        log = self.directory / f"{arguments[0]}-{port}.log"
        self.processes.append(Process(arguments, self.environment, port, log, ca))
        return self.processes[-1]

    def client(self, process):
        return boto3.client(
            "s3",
            endpoint_url=process.url,
            verify=str(process.ca) if process.ca else None,
            aws_access_key_id=self.root.access_key,
            aws_secret_access_key=self.root.secret_key,
            region_name=REGION,
            config=botocore.config.Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )

    def stop(self):
        for process in reversed(self.processes):
            process.stop()


def make_certificate(directory, certificate, key):
    (directory / "openssl.cnf").write_text(CONFIGURATION)
    run(
        "openssl", "req", "-x509", "-config", directory / "openssl.cnf", "-newkey", "rsa:2048", "-nodes",
        "-days", "60", "-keyout", key, "-out", certificate,
    )


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    nodes = Nodes(tmp_path_factory.mktemp("tls"))
    yield nodes
    nodes.stop()


@pytest.fixture
def s3(nodes):
    return nodes.client(nodes.server)


@pytest.fixture
def bucket(s3):
    name = f"tls-{uuid.uuid4().hex[:16]}"
    s3.create_bucket(Bucket=name)
    return name


def test_the_certificate_is_printed_and_its_key_is_the_owners_alone(nodes):
    key = nodes.server.ca.with_name("tls-key.pem")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    said = nodes.server.log.read_text()
    assert f"Endpoint    {nodes.server.url}" in said and str(nodes.server.ca.resolve()) in said


def test_curl_with_the_certificate_and_not_without(nodes, bucket, tmp_path):
    digest = make_file(tmp_path / "file", 300_000)
    user = f"{nodes.root.access_key}:{nodes.root.secret_key}"
    curl = ["curl", "-sS", "--fail", "--aws-sigv4", f"aws:amz:{REGION}:s3", "--user", user]
    url = f"{nodes.server.url}/{bucket}/key"
    for version in ["1.2", "1.3"]:
        trusting = [*curl, "--cacert", nodes.server.ca, f"--tlsv{version}", "--tls-max", version]
        run(*trusting, "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "-T", tmp_path / "file", url)
        run(*trusting, "-o", tmp_path / "down", url)
        assert sha256(tmp_path / "down") == digest
    # 60: the certificate of the peer cannot be verified.
    assert run(*curl, url, ok=False).returncode == 60


def test_aws_with_a_ca_bundle_copies_small_and_large(nodes, bucket, tmp_path):
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": nodes.root.access_key,
        "AWS_SECRET_ACCESS_KEY": nodes.root.secret_key,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": nodes.server.url,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }
    aws = ["aws", "--ca-bundle", nodes.server.ca, "s3"]
    for size in [1, 40 << 20]:
        digest = make_file(tmp_path / "up", size)
        run(*aws, "cp", "--no-progress", tmp_path / "up", f"s3://{bucket}/key", env=environment)
        run(*aws, "cp", "--no-progress", f"s3://{bucket}/key", tmp_path / "down", env=environment)
        assert sha256(tmp_path / "down") == digest
    assert bucket in run(*aws, "ls", env=environment).stdout


def test_boto3_completes_an_upload_whose_location_is_https(nodes, s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="key")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="key", UploadId=upload, PartNumber=1, Body=b"part")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    done = s3.complete_multipart_upload(Bucket=bucket, Key="key", UploadId=upload, MultipartUpload=parts)
    assert done["Location"] == f"{nodes.server.url}/{bucket}/key"
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"part"


def test_rclone_with_the_certificate(nodes, bucket, tmp_path):
    # rclone does not start where a CA bundle is set for other clients of AWS.
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = own | {
        "RCLONE_CONFIG": str(tmp_path / "rclone.conf"),
        "RCLONE_CONFIG_CAIRN_TYPE": "s3",
        "RCLONE_CONFIG_CAIRN_PROVIDER": "Other",
        "RCLONE_CONFIG_CAIRN_ENDPOINT": nodes.server.url,
        "RCLONE_CONFIG_CAIRN_REGION": REGION,
        "RCLONE_CONFIG_CAIRN_ACCESS_KEY_ID": nodes.root.access_key,
        "RCLONE_CONFIG_CAIRN_SECRET_ACCESS_KEY": nodes.root.secret_key,
    }
    for number in range(5):
        make_file(tmp_path / "local" / f"file{number}", number * 100_000, seed=number)
    rclone = ["rclone", "--ca-cert", nodes.server.ca]
    run(*rclone, "copy", tmp_path / "local", f"cairn:{bucket}/tree", env=environment)
    run(*rclone, "check", "--download", tmp_path / "local", f"cairn:{bucket}/tree", env=environment)


def test_a_presigned_url(nodes, s3, bucket):
    s3.put_object(Bucket=bucket, Key="key", Body=b"presigned")
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "key"}, ExpiresIn=60)
    assert url.startswith("https://")
    assert run("curl", "-sS", "--fail", "--cacert", nodes.server.ca, url).stdout == "presigned"


def test_a_policy_knows_who_spoke_tls(nodes, s3, bucket):
    s3.put_object(Bucket=bucket, Key="key", Body=b"public")
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"Bool": {"aws:SecureTransport": "true"}},
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    secure = requests.get(f"{nodes.server.url}/{bucket}/key", verify=str(nodes.server.ca), timeout=30)
    assert (secure.status_code, secure.content) == (200, b"public"), secure.text
    for headers in [{}, {"X-Forwarded-Proto": "https"}]:
        clear = requests.get(f"{nodes.plain.url}/{bucket}/key", headers=headers, timeout=30)
        assert clear.status_code == 403, clear.text


def test_http_in_the_clear_is_told_to_come_over_https(nodes):
    for method in ["GET", "PUT"]:
        answer = requests.request(method, f"http://127.0.0.1:{nodes.server.port}/bucket/key", data=b"x", timeout=30)
        assert answer.status_code == 400
        assert "<Code>BadRequest</Code>" in answer.text and "HTTPS" in answer.text


def test_the_admin_commands_trust_the_certificate_that_they_are_given(nodes):
    environment = os.environ | nodes.environment
    status = [BINARY, "status", "--endpoint", nodes.server.url]
    run(*status, "--ca", nodes.server.ca, env=environment)
    run(BINARY, "health", f"{nodes.server.url}/_cairn/health/ready", "--ca", nodes.server.ca, env=environment)
    assert "is not trusted" in run(*status, env=environment, ok=False).stderr


def metric(nodes, name):
    text = requests.get(f"http://{nodes.metrics}/metrics", timeout=30).text
    return [float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M)]


def shown(nodes):
    return ssl.get_server_certificate(("127.0.0.1", nodes.renewed.port)).strip()


def until(nodes, holds):
    deadline = time.monotonic() + 40
    while not holds():
        assert time.monotonic() < deadline, nodes.renewed.log.read_text()[-2000:]
        time.sleep(0.5)


def test_a_renewed_certificate_is_taken_up_while_a_download_goes_on(nodes, bucket, tmp_path):
    digest = make_file(tmp_path / "large", 64 << 20)
    old = tmp_path / "old.pem"
    shutil.copyfile(nodes.certificate, old)
    s3 = nodes.client(nodes.renewed)
    with (tmp_path / "large").open("rb") as body:
        s3.put_object(Bucket=bucket, Key="large", Body=body)
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "large"}, ExpiresIn=600)
    expiry = metric(nodes, "cairn_s3_tls_certificate_expiry_timestamp_seconds")
    assert len(expiry) == 1 and expiry[0] > time.time() + 50 * 86_400
    with requests.get(url, verify=str(old), stream=True, timeout=60) as download:
        pieces = download.iter_content(1 << 20)
        seen = hashlib.sha256(next(pieces))
        # Of no use first: it is the certificate of another key.
        make_certificate(nodes.directory, nodes.certificate, tmp_path / "other.key")
        until(nodes, lambda: metric(nodes, "cairn_s3_tls_reloads_total") == [1])
        assert shown(nodes) == old.read_text().strip()
        make_certificate(nodes.directory, nodes.certificate, nodes.key)
        until(nodes, lambda: shown(nodes) != old.read_text().strip())
        for piece in pieces:
            seen.update(piece)
    assert seen.hexdigest() == digest
    assert shown(nodes) == nodes.certificate.read_text().strip()
    assert nodes.client(nodes.renewed).head_object(Bucket=bucket, Key="large")["ContentLength"] == 64 << 20
    assert metric(nodes, "cairn_s3_tls_reloads_total") == [1, 1]
    assert nodes.renewed.log.read_text().count("is of no use") == 1


def pair(certificate, key):
    return ["--tls-certificate", certificate, "--tls-key", key]


def test_a_mistake_is_said_before_anything_is_served(nodes, tmp_path):
    (tmp_path / "garbage.pem").write_text("garbage")
    gateway = [BINARY, "gateway", "--join", f"127.0.0.1:{nodes.rpc}", "--listen", f"127.0.0.1:{free_port()}"]
    for arguments, said in [
        (["--tls-certificate", nodes.certificate], "tls_certificate and tls_key go in pairs"),
        (["--tls-key", nodes.key], "tls_certificate and tls_key go in pairs"),
        ([*pair(nodes.certificate, nodes.key), "--tls-self-signed"], "exclude each other"),
        (["--tls-self-signed"], "a gateway has no directory"),
        (pair(tmp_path / "garbage.pem", nodes.key), "garbage.pem: it holds no certificate"),
        (pair(nodes.certificate, tmp_path / "garbage.pem"), "garbage.pem: it holds no private key"),
        (pair(tmp_path / "none.pem", nodes.key), "none.pem: No such file"),
        (pair(nodes.certificate, nodes.server.ca.with_name("tls-key.pem")), "it is not the key of"),
    ]:
        assert said in run(*gateway, *arguments, env=os.environ | nodes.environment, ok=False, timeout=60).stderr
