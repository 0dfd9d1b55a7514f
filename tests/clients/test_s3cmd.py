"""s3cmd: put, get, ls, multipart."""

import pytest

from tools import make_file, run, sha256


@pytest.fixture
def s3cmd(service, tmp_path):
    host = service.url.removeprefix("http://")
    (tmp_path / "s3cfg").write_text(
        "[default]\n"
        f"access_key = {service.keys.access_key}\n"
        f"secret_key = {service.keys.secret_key}\n"
        f"host_base = {host}\n"
        f"host_bucket = {host}\n"
        "use_https = False\n"
        "signature_v2 = False\n"
        "bucket_location = us-east-1\n"
    )
    return lambda *arguments, **options: run("s3cmd", "-c", tmp_path / "s3cfg", *arguments, **options)


@pytest.mark.parametrize("size", [0, 1, 100_000, (16 << 20) + 5])
def test_put_and_get(s3cmd, bucket, tmp_path, size):
    digest = make_file(tmp_path / "up", size)
    s3cmd("put", "--multipart-chunk-size-mb=5", tmp_path / "up", f"s3://{bucket}/key")
    s3cmd("get", f"s3://{bucket}/key", tmp_path / "down")
    assert sha256(tmp_path / "down") == digest


def test_ls_la_info_cp_and_del(s3cmd, bucket, tmp_path):
    make_file(tmp_path / "up", 1000)
    for name in ["a", "dir/b", "dir/c"]:
        s3cmd("put", tmp_path / "up", f"s3://{bucket}/{name}")
    assert f"s3://{bucket}/dir/" in s3cmd("ls", f"s3://{bucket}").stdout
    assert len(s3cmd("ls", "-r", f"s3://{bucket}").stdout.splitlines()) == 3
    assert "1000" in s3cmd("info", f"s3://{bucket}/a").stdout
    s3cmd("cp", f"s3://{bucket}/a", f"s3://{bucket}/copy")
    s3cmd("del", "-r", "--force", f"s3://{bucket}/dir")
    assert len(s3cmd("ls", "-r", f"s3://{bucket}").stdout.splitlines()) == 2
