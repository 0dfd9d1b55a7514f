"""Buckets: names, owners, lists, and what stands in the way of a delete."""

import uuid

import pytest

from expect import error


def name():
    return f"b-{uuid.uuid4().hex[:20]}"


def test_a_bucket_is_created_seen_and_deleted(s3, service):
    bucket = name()
    assert s3.create_bucket(Bucket=bucket)["Location"] == f"/{bucket}"
    assert s3.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == "us-east-1"
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    assert bucket in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]
    s3.delete_bucket(Bucket=bucket)
    with error("404", 404):
        s3.head_bucket(Bucket=bucket)
    with error("NoSuchBucket", 404):
        s3.delete_bucket(Bucket=bucket)
    with error("NoSuchBucket", 404):
        s3.put_object(Bucket=bucket, Key="key", Body=b"x")


def test_a_deleted_name_can_be_taken_again_and_is_empty(s3):
    bucket = name()
    for round in range(3):
        s3.create_bucket(Bucket=bucket)
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
        s3.put_object(Bucket=bucket, Key="key", Body=b"x")
        upload = s3.create_multipart_upload(Bucket=bucket, Key="open")
        s3.delete_object(Bucket=bucket, Key="key")
        s3.delete_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=bucket)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    with error("NoSuchUpload", 404):
        s3.abort_multipart_upload(Bucket=bucket, Key="open", UploadId=upload["UploadId"])


def test_creating_ones_own_bucket_again_is_fine_in_us_east_1(s3, bucket):
    s3.put_object(Bucket=bucket, Key="key", Body=b"x")
    s3.create_bucket(Bucket=bucket)
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"x"


@pytest.mark.parametrize(
    "bad", ["ab", "a" * 64, "Upper", "under_score", "a..b", "-lead", "trail-", "192.168.1.1", "xn--x", "x-s3alias", "sp ace"]
)
def test_a_bad_name_is_refused(service, bad):
    client = service.client()
    client.meta.events.unregister("before-parameter-build.s3", __import__("botocore.handlers").handlers.validate_bucket_name)
    with error("InvalidBucketName", 400):
        client.create_bucket(Bucket=bad)


def test_a_bucket_that_is_not_empty_stays(s3, bucket):
    s3.put_object(Bucket=bucket, Key="key", Body=b"x")
    with error("BucketNotEmpty", 409):
        s3.delete_bucket(Bucket=bucket)
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"x"


def test_another_users_bucket_is_closed_and_its_name_is_taken(service, cluster, s3, bucket):
    other = service.client(cluster.add_user(f"other-{uuid.uuid4().hex[:8]}"))
    s3.put_object(Bucket=bucket, Key="key", Body=b"x")
    with error("BucketAlreadyExists", 409):
        other.create_bucket(Bucket=bucket)
    with error("AccessDenied", 403):
        other.list_objects_v2(Bucket=bucket)
    with error("AccessDenied", 403):
        other.get_object(Bucket=bucket, Key="key")
    with error("AccessDenied", 403):
        other.put_object(Bucket=bucket, Key="key", Body=b"y")
    with error("AccessDenied", 403):
        other.delete_object(Bucket=bucket, Key="key")
    with error("AccessDenied", 403):
        other.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "key"})
    with error("AccessDenied", 403):
        other.delete_bucket(Bucket=bucket)
    assert bucket not in [entry["Name"] for entry in other.list_buckets()["Buckets"]]
    root = service.client(cluster.root)
    assert root.get_object(Bucket=bucket, Key="key")["Body"].read() == b"x"


def test_buckets_are_listed_in_pages_and_by_prefix(service, cluster):
    client = service.client(cluster.add_user(f"lister-{uuid.uuid4().hex[:8]}"))
    prefix = name()[:12]
    names = [f"{prefix}-{number:02}" for number in range(7)]
    for bucket in names:
        client.create_bucket(Bucket=bucket)
    client.create_bucket(Bucket=f"zz-{prefix}")
    seen, token = [], {}
    while True:
        page = client.list_buckets(Prefix=prefix, MaxBuckets=3, **token)
        assert len(page["Buckets"]) <= 3
        seen += [entry["Name"] for entry in page["Buckets"]]
        if "ContinuationToken" not in page:
            break
        token = {"ContinuationToken": page["ContinuationToken"]}
    assert seen == names


def test_what_clients_ask_of_every_bucket_is_answered(s3, bucket, user):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    acl = s3.get_bucket_acl(Bucket=bucket)
    assert acl["Owner"]["ID"] == user.user_id
    assert [grant["Permission"] for grant in acl["Grants"]] == ["FULL_CONTROL"]
    s3.put_object(Bucket=bucket, Key="key", Body=b"x")
    assert s3.get_object_acl(Bucket=bucket, Key="key")["Owner"]["ID"] == user.user_id
    versions = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert [(entry["Key"], entry["VersionId"], entry["IsLatest"]) for entry in versions] == [("key", "null", True)]


def test_what_is_not_built_says_so(s3, bucket):
    calls = [
        lambda: s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}),
        lambda: s3.get_bucket_tagging(Bucket=bucket),
        lambda: s3.get_bucket_lifecycle_configuration(Bucket=bucket),
        lambda: s3.get_bucket_cors(Bucket=bucket),
        lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="AES256"),
        lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=b"),
        lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"x", ObjectLockLegalHoldStatus="ON"),
    ]
    for call in calls:
        with error("NotImplemented", 501):
            call()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="private", StorageClass="STANDARD")


def test_the_owner_of_a_bucket_owns_everything_in_it_and_there_are_no_acls(s3, bucket):
    rule = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"][0]
    assert rule["ObjectOwnership"] == "BucketOwnerEnforced"
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [rule]})
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="bucket-owner-full-control")
    acl = s3.get_object_acl(Bucket=bucket, Key="k")
    policy = {"Owner": acl["Owner"], "Grants": acl["Grants"]}
    s3.put_object_acl(Bucket=bucket, Key="k", AccessControlPolicy=policy)
    s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=policy)
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    everybody = {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"}
    public = {"Owner": acl["Owner"], "Grants": [*acl["Grants"], {"Grantee": everybody, "Permission": "READ"}]}
    for call in [
        lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read"),
        lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"x", GrantRead=f"id={acl['Owner']['ID']}"),
        lambda: s3.put_object_acl(Bucket=bucket, Key="k", ACL="public-read"),
        lambda: s3.put_bucket_acl(Bucket=bucket, ACL="public-read"),
        lambda: s3.put_object_acl(Bucket=bucket, Key="k", AccessControlPolicy=public),
        lambda: s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=public),
    ]:
        with error("AccessControlListNotSupported", 400):
            call()
    with error("InvalidBucketAclWithObjectOwnership", 400):
        s3.create_bucket(Bucket=f"{bucket}-2", ACL="public-read")
    with error("NoSuchKey", 404):
        s3.put_object_acl(Bucket=bucket, Key="missing", ACL="private")
    with error("MalformedACLError", 400):
        wrong = {"Owner": acl["Owner"], "Grants": [{"Grantee": acl["Grants"][0]["Grantee"], "Permission": "ALL"}]}
        s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=wrong)


def test_virtual_host_style_names_the_bucket_in_the_host(service, bucket):
    import requests
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    url = f"http://{bucket}.localhost:{service.port}/a/key"
    request = AWSRequest("PUT", url, data=b"virtual")
    S3SigV4Auth(Credentials(service.keys.access_key, service.keys.secret_key), "s3", "us-east-1").add_auth(request)
    headers = dict(request.headers) | {"Host": f"{bucket}.localhost:{service.port}"}
    answer = requests.put(f"{service.url}/a/key", data=b"virtual", headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text
    assert service.client().get_object(Bucket=bucket, Key="a/key")["Body"].read() == b"virtual"
