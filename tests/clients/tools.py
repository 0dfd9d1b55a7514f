"""Running client programs, and comparing bytes by hash."""

import hashlib
import os
import pathlib
import random
import subprocess
import time


def run(*command, env=None, ok=True, timeout=300):
    """Runs a program to its end and gives what it printed; fails with its words where `ok` is not met."""
    done = subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True, timeout=timeout)
    if ok is not None and (done.returncode == 0) != ok:
        raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done


def make_file(path: pathlib.Path, size: int, seed: int = 0) -> str:
    """Writes a file of pseudo-random bytes and gives its SHA-256. It is some seconds old: S3 tells times by the second, and
    a client that compares them would take a file of this very second for newer than its upload.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = random.Random(f"{seed}/{size}")
    digest = hashlib.sha256()
    with path.open("wb") as out:
        left = size
        while left:
            block = generator.randbytes(min(left, 1 << 20))
            digest.update(block)
            out.write(block)
            left -= len(block)
    past = time.time() - 10
    os.utime(path, (past, past))
    return digest.hexdigest()


def sha256(path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def tree(root: pathlib.Path) -> dict:
    """Every file below a directory: relative path -> SHA-256."""
    return {
        str(path.relative_to(root)): sha256(path)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


# CI moves a multipart upload of some parts; CAIRN_LARGE=1 asks for the full 5 GiB.
LARGE = (5 << 30) if os.environ.get("CAIRN_LARGE") else (72 << 20) + 12345
