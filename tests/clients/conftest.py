"""Starts the real binary, once behind its own S3 port and once behind a separate gateway, for the tests of clients."""

import dataclasses
import json
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import time
import uuid

import boto3
import botocore.config
import pytest
import requests

BINARY = os.environ.get("CAIRN_BINARY", "cairn")
REGION = "us-east-1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclasses.dataclass
class Keys:
    access_key: str
    secret_key: str
    user_id: str = ""


class Process:
    """A `cairn` process whose S3 port answers. With a certificate to trust it speaks TLS."""

    def __init__(self, arguments, environment, port, log, ca=None):
        self.url = f"{'https' if ca else 'http'}://127.0.0.1:{port}"
        self.port = port
        self.ca = ca
        self.log = pathlib.Path(log)
        with self.log.open("ab") as out:
            self.child = subprocess.Popen(
                [BINARY, *map(str, arguments)], env=os.environ | environment, stdout=out, stderr=out
            )
        self.wait_until_ready()

    def wait_until_ready(self, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise RuntimeError(f"cairn ended with {self.child.returncode}:\n{self.log.read_text()[-4000:]}")
            try:
                verify = True if self.ca is None else str(self.ca)
                if requests.get(f"{self.url}/_cairn/health/ready", timeout=2, verify=verify).status_code == 200:
                    return
            except OSError:
                # All that requests raises is one; so is a certificate that was not made yet.
                pass
            time.sleep(0.05)
        raise RuntimeError(f"cairn is not ready after {seconds} s:\n{self.log.read_text()[-4000:]}")

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(40)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        return self.child.returncode


class Cluster:
    """One `cairn server` over three directories and one `cairn gateway` in front of it."""

    def __init__(self, directory: pathlib.Path, disks=3):
        self.root = Keys("ROOTROOTROOTROOTROOT", secrets.token_hex(20))
        self.rpc = free_port()
        self.environment = {
            "CAIRN_ROOT_ACCESS_KEY": self.root.access_key,
            "CAIRN_ROOT_SECRET_KEY": self.root.secret_key,
            "CAIRN_CLUSTER_SECRET": secrets.token_hex(32),
            "CAIRN_RESERVE": "64MiB",
        }
        s3 = free_port()
        directories = [directory / f"disk{number}" for number in range(1, disks + 1)]
        self.server = Process(
            ["server", *directories, "--listen", f"127.0.0.1:{s3}", "--rpc", f"127.0.0.1:{self.rpc}"],
            self.environment,
            s3,
            directory / "server.log",
        )
        s3 = free_port()
        self.gateway = Process(
            ["gateway", "--listen", f"127.0.0.1:{s3}", "--join", f"127.0.0.1:{self.rpc}"],
            self.environment,
            s3,
            directory / "gateway.log",
        )

    def add_user(self, name: str) -> Keys:
        answer = subprocess.run(
            [BINARY, "user", "add", name, "--endpoint", self.server.url, "--json"],
            env=os.environ | self.environment,
            check=True,
            capture_output=True,
        )
        user = json.loads(answer.stdout)
        return Keys(user["access_key"], user["secret_key"], user["user_id"])

    def stop(self):
        self.gateway.stop()
        self.server.stop()


@dataclasses.dataclass
class Service:
    """One way in: a URL and the keys of a user."""

    url: str
    port: int
    keys: Keys
    cluster: Cluster

    def client(self, keys=None, **options):
        keys = keys or self.keys
        config = botocore.config.Config(
            retries={"max_attempts": 1, "mode": "standard"},
            s3={"addressing_style": options.pop("addressing_style", "path")},
            signature_version="s3v4",
            **options,
        )
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=keys.access_key,
            aws_secret_access_key=keys.secret_key,
            region_name=REGION,
            config=config,
        )

    def environment(self):
        return os.environ | {
            "AWS_ACCESS_KEY_ID": self.keys.access_key,
            "AWS_SECRET_ACCESS_KEY": self.keys.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def user(cluster):
    return cluster.add_user("tester")


@pytest.fixture(scope="session", params=["server", "gateway"])
def service(request, cluster, user):
    process = getattr(cluster, request.param)
    return Service(process.url, process.port, user, cluster)


@pytest.fixture
def s3(service):
    return service.client()


@pytest.fixture
def bucket(s3):
    """A bucket of its own for each test."""
    name = f"test-{uuid.uuid4().hex[:16]}"
    s3.create_bucket(Bucket=name)
    return name
