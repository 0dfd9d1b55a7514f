"""The admin commands where they are not on the server's machine: TLS, its certificates, proxies, regions, time."""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import time

import boto3
import pytest
from botocore.config import Config

from conftest import BINARY, Process, free_port
from tools import run

README = pathlib.Path(__file__).parents[2] / "README.md"
LEAF = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n"


def make_ca(directory, name):
    run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
        "-keyout", directory / f"{name}.key", "-out", directory / f"{name}.pem",
    )
    return directory / f"{name}.pem"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Two CAs, and a certificate of `localhost` that the first has signed."""
    directory = tmp_path_factory.mktemp("tls")
    make_ca(directory, "ours")
    make_ca(directory, "theirs")
    (directory / "leaf.cnf").write_text(LEAF)
    run(
        "openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
        "-keyout", directory / "key.pem", "-out", directory / "request.pem",
    )
    run(
        "openssl", "x509", "-req", "-in", directory / "request.pem", "-days", "2", "-CA", directory / "ours.pem",
        "-CAkey", directory / "ours.key", "-CAcreateserial", "-extfile", directory / "leaf.cnf",
        "-out", directory / "cert.pem",
    )
    return directory


@contextlib.contextmanager
def nginx(directory, servers, ports):
    """nginx with some `server` blocks, once it listens on the ports."""
    place = directory / f"nginx-{ports[0]}"
    place.mkdir()
    paths = [f"{name}_temp_path {place}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
    (place / "nginx.conf").write_text(
        f"daemon off; pid {place}/pid; error_log {place}/error.log; events {{}}\n"
        f"http {{ access_log off; {' '.join(paths)}\n{servers}\n}}"
    )
    child = subprocess.Popen(["nginx", "-p", place, "-c", place / "nginx.conf"])
    try:
        for port in ports:
            deadline = time.monotonic() + 20
            while True:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                assert child.poll() is None and time.monotonic() < deadline, (place / "error.log").read_text()
                time.sleep(0.05)
        yield
    finally:
        child.terminate()
        child.wait(10)


@pytest.fixture(scope="module")
def tls(directory, cluster):
    """What the README says of nginx, with this test's port, files and server; and one that takes a path off."""
    port, other = free_port(), free_port()
    (block,) = re.findall(r"^    server \{\n.*?^    \}\n", README.read_text(), re.M | re.S)
    for pattern, ours in [
        (r"listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        (r"(ssl_certificate) \S+;", rf"\1 {directory}/cert.pem;"),
        (r"(ssl_certificate_key) \S+;", rf"\1 {directory}/key.pem;"),
        (r"proxy_pass \S+;", f"proxy_pass {cluster.server.url};"),
    ]:
        block, count = re.subn(pattern, ours, block)
        assert count == 1, (pattern, block)
    below = re.sub(r"location / ", "location /stones/ ", block.replace(f":{port} ", f":{other} "))
    below = below.replace(f"{cluster.server.url};", f"{cluster.server.url}/;")
    with nginx(directory, block + below, [port, other]):
        yield f"https://localhost:{port}", f"https://localhost:{other}/stones"


def cairn(cluster, *arguments, ok=True, **environment):
    """Runs a command with nothing in its environment but root's keys and what is given."""
    keys = {name: cluster.environment[name] for name in ("CAIRN_ROOT_ACCESS_KEY", "CAIRN_ROOT_SECRET_KEY")}
    return run(BINARY, *arguments, env={"PATH": os.environ["PATH"]} | keys | environment, ok=ok, timeout=60)


def status(cluster, endpoint, *arguments, **options):
    return cairn(cluster, "status", "--json", "--endpoint", endpoint, *arguments, **options)


def test_the_commands_speak_https_with_whom_they_trust(cluster, directory, tls):
    answer = status(cluster, tls[0], "--ca", directory / "ours.pem")
    assert len(json.loads(answer.stdout)["disks"]) == 3
    both = directory / "both.pem"
    both.write_text((directory / "theirs.pem").read_text() + (directory / "ours.pem").read_text())
    assert status(cluster, tls[0], CAIRN_CA=str(both)).stdout
    cairn(cluster, "health", f"{tls[0]}/_cairn/health/ready", "--ca", directory / "ours.pem")
    assert "chunks are referred to" in cairn(cluster, "fsck", "--endpoint", tls[0], "--ca", both, ok=None).stdout


@pytest.mark.parametrize("trust", ["theirs.pem", None])
def test_whoever_is_not_trusted_gets_no_request(cluster, directory, tls, trust):
    arguments = ["--ca", directory / trust] if trust else []
    for command in (["status", "--endpoint", tls[0]], ["health", f"{tls[0]}/_cairn/health/ready"]):
        said = cairn(cluster, *command, *arguments, ok=False).stderr
        assert "is not trusted (`--ca FILE` names whom to trust)" in said and "UnknownIssuer" in said, said


def test_a_name_that_the_certificate_does_not_have_is_not_trusted(cluster, directory, tls):
    url = tls[0].replace("localhost", "127.0.0.1")
    said = status(cluster, url, "--ca", directory / "ours.pem", ok=False).stderr
    assert "is not trusted" in said and "not valid for name" in said, said


def test_a_ca_that_serves_itself_is_told_what_it_lacks(cluster, directory):
    port = free_port()
    files = f"ssl_certificate {directory}/ours.pem; ssl_certificate_key {directory}/ours.key;"
    with nginx(directory, f"server {{ listen 127.0.0.1:{port} ssl; {files} }}", [port]):
        said = status(cluster, f"https://localhost:{port}", "--ca", directory / "ours.pem", ok=False).stderr
    assert "the certificate of a CA in place of one that a CA has signed" in said, said


def test_what_is_no_certificate_is_said_so(cluster, directory, tls):
    assert "holds no certificate" in status(cluster, tls[0], "--ca", directory / "key.pem", ok=False).stderr
    assert "cannot read" in status(cluster, tls[0], "--ca", directory / "none.pem", ok=False).stderr


def test_without_certificates_on_the_system_http_is_spoken_still(cluster):
    nothing = {"SSL_CERT_FILE": "/nonexistent", "SSL_CERT_DIR": "/nonexistent"}
    assert status(cluster, cluster.server.url, **nothing).stdout


def test_https_and_http_are_told_apart(cluster, directory, tls):
    said = status(cluster, cluster.server.url.replace("http", "https"), ok=False).stderr
    assert "does not speak https" in said, said
    said = status(cluster, tls[0].replace("https", "http"), ok=False).stderr
    assert "400 Bad Request: is it a Cairn gateway" in said, said
    said = status(cluster, cluster.server.url.removeprefix("http://"), ok=False).stderr
    assert "is not a URL" in said, said


def test_a_proxy_before_the_server_may_take_a_path_off(cluster, directory, tls):
    ca = ["--ca", directory / "ours.pem"]
    for endpoint in (tls[1], tls[1] + "/"):
        cairn(cluster, "user", "add", "stone", "--endpoint", endpoint, *ca)
        users = json.loads(cairn(cluster, "user", "list", "--json", "--endpoint", endpoint, *ca).stdout)["users"]
        assert "stone" in [user["display_name"] for user in users]
        cairn(cluster, "user", "remove", "stone", "--endpoint", endpoint, *ca)
    said = status(cluster, tls[1], *ca, CAIRN_ROOT_SECRET_KEY="wrong", ok=False).stderr
    assert "(SignatureDoesNotMatch)" in said, said


def test_behind_a_proxy_with_tls_a_location_is_https(cluster, directory, tls, user):
    client = boto3.client(
        "s3", endpoint_url=tls[0], verify=str(directory / "ours.pem"), region_name="us-east-1",
        aws_access_key_id=user.access_key, aws_secret_access_key=user.secret_key,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1, "mode": "standard"}),
    )
    client.create_bucket(Bucket="behind-tls")
    upload = {"Bucket": "behind-tls", "Key": "key"}
    upload["UploadId"] = client.create_multipart_upload(**upload)["UploadId"]
    etag = client.upload_part(**upload, PartNumber=1, Body=b"part")["ETag"]
    done = client.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert done["Location"] == f"{tls[0]}/behind-tls/key"


def test_who_takes_a_request_and_says_nothing_is_not_waited_for_long(cluster):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for command in (["status", "--endpoint", url], ["health", url], ["user", "list", "--endpoint", url]):
            began = time.monotonic()
            said = cairn(cluster, *command, "--timeout", "1s", ok=False).stderr
            assert "does not answer within 1s" in said, said
            assert time.monotonic() - began < 10
        # fsck asks for a page again that nobody could answer, but not where that takes as long again.
        done = cairn(cluster, "fsck", "--endpoint", url, CAIRN_TIMEOUT="1s", ok=None)
        assert done.returncode == 2 and "does not answer within 1s" in done.stderr
        said = status(cluster, url.replace("http", "https"), "--timeout", "1s", ok=False).stderr
        assert "does not answer within 1s" in said, said


def test_no_proxy_stands_before_this_machine(cluster):
    dead = f"http://127.0.0.1:{free_port()}"
    proxies = {name: dead for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY")}
    for host in ("127.0.0.1", "localhost"):
        url = cluster.server.url.replace("127.0.0.1", host)
        assert status(cluster, url, **proxies).stdout
        cairn(cluster, "health", f"{url}/_cairn/health/ready", **proxies)
    # Before others it does: nothing but the proxy is asked for a name that does not exist.
    said = status(cluster, "http://cairn.invalid", **proxies, ok=False).stderr
    assert "nobody answers" in said and "Connection refused" in said, said


def test_a_redirection_is_told_and_not_followed(cluster, directory):
    port = free_port()
    block = f"server {{ listen 127.0.0.1:{port}; return 301 {cluster.server.url}$request_uri; }}"
    with nginx(directory, block, [port]):
        said = status(cluster, f"http://127.0.0.1:{port}", ok=False).stderr
    assert f"301 Moved Permanently, and says that it is at {cluster.server.url}" in said, said


def test_the_region_is_the_one_that_the_server_names(cluster, directory):
    port = free_port()
    server = Process(
        ["server", directory / "disk", "--listen", f"127.0.0.1:{port}", "--rpc", f"127.0.0.1:{free_port()}"]
        + ["--region", "eu-far-2"],
        cluster.environment, port, directory / "far.log",
    )
    try:
        assert status(cluster, server.url).stdout
        assert cairn(cluster, "fsck", "--endpoint", server.url).stdout
        assert status(cluster, server.url, CAIRN_REGION="eu-far-2").stdout
        said = status(cluster, server.url, CAIRN_REGION="eu-near-1", ok=False).stderr
        assert "AuthorizationHeaderMalformed" in said and "eu-far-2" in said, said
    finally:
        server.stop()
