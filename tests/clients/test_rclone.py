"""rclone: copies, syncs, checks, and a mount that people work on."""

import os
import pathlib
import shutil
import subprocess
import time

import pytest

from tools import LARGE, make_file, run, sha256, tree


@pytest.fixture
def environment(service, tmp_path):
    # rclone does not start where a CA bundle is set for other clients of AWS.
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return own | {
        "RCLONE_CONFIG": str(tmp_path / "rclone.conf"),
        "RCLONE_CONFIG_CAIRN_TYPE": "s3",
        "RCLONE_CONFIG_CAIRN_PROVIDER": "Other",
        "RCLONE_CONFIG_CAIRN_ENDPOINT": service.url,
        "RCLONE_CONFIG_CAIRN_REGION": "us-east-1",
        "RCLONE_CONFIG_CAIRN_ACCESS_KEY_ID": service.keys.access_key,
        "RCLONE_CONFIG_CAIRN_SECRET_ACCESS_KEY": service.keys.secret_key,
    }


@pytest.fixture
def rclone(environment):
    return lambda *arguments, **options: run("rclone", *arguments, env=environment, **options)


def test_copy_check_sync_and_purge(rclone, bucket, tmp_path):
    local = tmp_path / "local"
    for number in range(20):
        make_file(local / f"dir{number % 4}" / f"file {number} & ü.bin", number * 3001, seed=number)
    rclone("copy", local, f"cairn:{bucket}/tree")
    rclone("check", local, f"cairn:{bucket}/tree")
    rclone("copy", f"cairn:{bucket}/tree", tmp_path / "back")
    assert tree(tmp_path / "back") == tree(local)
    shutil.rmtree(local / "dir2")
    make_file(local / "dir0" / "new", 99)
    rclone("sync", local, f"cairn:{bucket}/tree")
    rclone("check", local, f"cairn:{bucket}/tree")
    rclone("check", "--download", local, f"cairn:{bucket}/tree")
    assert len(rclone("lsf", "-R", "--files-only", f"cairn:{bucket}/tree").stdout.splitlines()) == 16
    rclone("purge", f"cairn:{bucket}/tree")
    assert rclone("lsf", "-R", f"cairn:{bucket}").stdout == ""


def test_a_large_file_goes_up_in_parts_and_comes_back_in_streams(rclone, bucket, tmp_path):
    digest = make_file(tmp_path / "large", LARGE)
    rclone("copyto", "--s3-upload-cutoff", "16M", "--s3-chunk-size", "8M", tmp_path / "large", f"cairn:{bucket}/large")
    rclone("copyto", "--multi-thread-cutoff", "16M", f"cairn:{bucket}/large", tmp_path / "back")
    assert sha256(tmp_path / "back") == digest


def test_a_server_side_copy_and_move(rclone, bucket, tmp_path):
    digest = make_file(tmp_path / "file", 300_000)
    rclone("copyto", tmp_path / "file", f"cairn:{bucket}/one")
    rclone("copyto", f"cairn:{bucket}/one", f"cairn:{bucket}/two")
    rclone("moveto", f"cairn:{bucket}/two", f"cairn:{bucket}/three")
    rclone("copyto", f"cairn:{bucket}/three", tmp_path / "back")
    assert sha256(tmp_path / "back") == digest
    assert rclone("lsf", f"cairn:{bucket}").stdout.split() == ["one", "three"]


@pytest.fixture
def mount(environment, bucket, tmp_path):
    if not pathlib.Path("/dev/fuse").exists():
        pytest.skip("no /dev/fuse on this machine")
    at = tmp_path / "mount"
    at.mkdir()
    log = (tmp_path / "mount.log").open("w")
    child = subprocess.Popen(
        ["rclone", "mount", f"cairn:{bucket}", at, "--vfs-cache-mode", "writes", "--dir-cache-time", "1s",
         "--vfs-write-back", "1s", "--cache-dir", tmp_path / "cache", "-vv"],
        env=environment, stdout=log, stderr=log,
    )
    deadline = time.monotonic() + 20
    while not os.path.ismount(at):
        assert child.poll() is None and time.monotonic() < deadline, (tmp_path / "mount.log").read_text()
        time.sleep(0.05)
    yield at
    subprocess.run(["fusermount3", "-u", "-z", at], check=False)
    child.terminate()
    child.wait(20)


def uploaded(rclone, bucket, names):
    """Waits until exactly these keys are there: the mount writes back behind the back of its users."""
    deadline = time.monotonic() + 20
    while True:
        found = sorted(rclone("lsf", "-R", "--files-only", f"cairn:{bucket}").stdout.splitlines())
        if found == sorted(names):
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def written_back(log, name):
    """Waits until the mount has done with the upload: rclone loses a file that is renamed while it goes up."""
    deadline = time.monotonic() + 20
    while f"{name}: vfs cache: writeback object" not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def test_files_written_renamed_and_read_through_a_mount(mount, rclone, bucket, tmp_path):
    digest = make_file(tmp_path / "source", 3_000_000)
    (mount / "dir").mkdir()
    # Without its times: rclone loses a file whose times are set while it goes up.
    shutil.copyfile(tmp_path / "source", mount / "dir" / "written.bin")
    (mount / "note.txt").write_text("first\n")
    with (mount / "note.txt").open("a") as note:
        note.write("second\n")
    written_back(tmp_path / "mount.log", "dir/written.bin")
    (mount / "dir" / "written.bin").rename(mount / "renamed.bin")
    uploaded(rclone, bucket, ["note.txt", "renamed.bin"])
    assert sha256(mount / "renamed.bin") == digest
    assert (mount / "note.txt").read_text() == "first\nsecond\n"
    rclone("copyto", f"cairn:{bucket}/renamed.bin", tmp_path / "back")
    assert sha256(tmp_path / "back") == digest
    (mount / "note.txt").unlink()
    uploaded(rclone, bucket, ["renamed.bin"])
