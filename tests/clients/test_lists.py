"""Lists: order, prefixes, delimiters, pages."""

import pytest

from expect import error

KEYS = sorted(
    ["a", "a/", "a/b", "a//b", "a/b/c", "a0", "b/1", "b/2", "b/3/x", "b/3/y", "c+d", "c d", "é", "e\u0301", "z/\U0001f600", "Z"],
    key=lambda key: key.encode(),
)


@pytest.fixture
def full(s3, bucket):
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    return bucket


def expected(prefix="", delimiter="", after=""):
    keys, prefixes = [], []
    for key in KEYS:
        if not key.startswith(prefix) or key.encode() <= after.encode():
            continue
        rest = key[len(prefix) :]
        if delimiter and delimiter in rest:
            common = prefix + rest[: rest.index(delimiter) + len(delimiter)]
            if common not in prefixes:
                prefixes.append(common)
        else:
            keys.append(key)
    return keys, prefixes


def pages(call, **arguments):
    keys, prefixes, count = [], [], 0
    while True:
        page = call(**arguments)
        keys += [entry["Key"] for entry in page.get("Contents", [])]
        prefixes += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        count += 1
        if not page["IsTruncated"]:
            return keys, prefixes, count
        if "NextContinuationToken" in page:
            arguments["ContinuationToken"] = page["NextContinuationToken"]
        else:
            arguments["Marker"] = page.get("NextMarker") or page["Contents"][-1]["Key"]
        assert count < 100


@pytest.mark.parametrize("prefix", ["", "a", "a/", "b/", "b/3", "c", "z/", "nothing"])
@pytest.mark.parametrize("delimiter", ["", "/", "b", "//"])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_every_prefix_delimiter_and_page_size_gives_what_a_model_gives(s3, full, prefix, delimiter, size):
    want = expected(prefix, delimiter)
    for call in [s3.list_objects_v2, s3.list_objects]:
        got = pages(call, Bucket=full, Prefix=prefix, Delimiter=delimiter, MaxKeys=size)
        assert got[:2] == want


def test_start_after_marker_and_fetch_owner(s3, full, user):
    for after in ["", "a", "a/", "a/zzz", "b/3/x", "zzz", "\U0001f600"]:
        page = s3.list_objects_v2(Bucket=full, StartAfter=after)
        assert [entry["Key"] for entry in page.get("Contents", [])] == expected(after=after)[0]
        page = s3.list_objects(Bucket=full, Marker=after)
        assert [entry["Key"] for entry in page.get("Contents", [])] == expected(after=after)[0]
    assert "Owner" not in s3.list_objects_v2(Bucket=full)["Contents"][0]
    assert s3.list_objects_v2(Bucket=full, FetchOwner=True)["Contents"][0]["Owner"]["ID"] == user.user_id
    assert s3.list_objects(Bucket=full)["Contents"][0]["Owner"]["ID"] == user.user_id


def test_max_keys_zero_is_an_empty_page_and_more_than_a_thousand_is_a_thousand(s3, full):
    page = s3.list_objects_v2(Bucket=full, MaxKeys=0)
    assert (page["KeyCount"], page["IsTruncated"], "Contents" in page) == (0, False, False)
    assert s3.list_objects_v2(Bucket=full, MaxKeys=100_000)["MaxKeys"] == 1000
    with error("InvalidArgument", 400):
        s3.list_objects_v2(Bucket=full, MaxKeys=-1)
    with error("InvalidArgument", 400):
        s3.list_objects_v2(Bucket=full, ContinuationToken="not a token")


def test_more_than_a_page_of_keys(s3, bucket):
    from concurrent.futures import ThreadPoolExecutor

    keys = [f"{number:05}" for number in range(1500)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b""), keys))
    assert pages(s3.list_objects_v2, Bucket=bucket) == (keys, [], 2)
    first = s3.list_objects_v2(Bucket=bucket)
    assert (first["KeyCount"], first["IsTruncated"]) == (1000, True)
