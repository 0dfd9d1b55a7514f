"""Access control lists: by name, by headers and by document, of buckets and of objects, where a bucket has them."""

import json
import subprocess
import uuid

import boto3
import botocore
import pytest

from conftest import BINARY
from expect import error

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"


@pytest.fixture
def writer(cluster):
    """Another user: the name and the keys."""
    name = f"writer-{uuid.uuid4().hex[:8]}"
    return name, cluster.add_user(name)


def make(s3, ownership="ObjectWriter", **more):
    name = f"test-{uuid.uuid4().hex[:16]}"
    s3.create_bucket(Bucket=name, ObjectOwnership=ownership, **more)
    return name


def stranger(service):
    config = botocore.config.Config(signature_version=botocore.UNSIGNED, s3={"addressing_style": "path"})
    return boto3.client("s3", endpoint_url=service.url, region_name="us-east-1", config=config)


def grants(answer):
    def name(grantee):
        return grantee.get("ID") or grantee["URI"]

    return sorted((name(grant["Grantee"]), grant["Permission"]) for grant in answer["Grants"])


def own(user):
    return (user.user_id, "FULL_CONTROL")


def test_without_a_word_a_bucket_has_no_lists(s3, bucket, service):
    rules = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert rules == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    for refused in [
        lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL="public-read"),
        lambda: s3.put_bucket_acl(Bucket=bucket, ACL="public-read"),
        lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"", GrantRead=f"id={service.keys.user_id}"),
    ]:
        with error("AccessControlListNotSupported", 400):
            refused()
    with error("InvalidBucketAclWithObjectOwnership", 400):
        s3.create_bucket(Bucket=f"{bucket}-2", ACL="public-read")
    s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL="bucket-owner-full-control")
    assert grants(s3.get_object_acl(Bucket=bucket, Key="k")) == [own(service.keys)]


def test_what_is_public_is_read_by_everybody_and_the_rest_is_not(service, s3):
    bucket, nobody = make(s3), stranger(service)
    s3.put_object(Bucket=bucket, Key="open", Body=b"open", ACL="public-read")
    s3.put_object(Bucket=bucket, Key="closed", Body=b"closed")
    assert nobody.get_object(Bucket=bucket, Key="open")["Body"].read() == b"open"
    assert nobody.head_object(Bucket=bucket, Key="open")["ContentLength"] == 4
    for refused in [
        lambda: nobody.get_object(Bucket=bucket, Key="closed"),
        lambda: nobody.get_object(Bucket=bucket, Key="missing"),
        lambda: nobody.list_objects_v2(Bucket=bucket),
        lambda: nobody.put_object(Bucket=bucket, Key="open", Body=b"x"),
        lambda: nobody.delete_object(Bucket=bucket, Key="open"),
    ]:
        with error("AccessDenied", 403):
            refused()
    assert (ALL_USERS, "READ") in grants(s3.get_object_acl(Bucket=bucket, Key="open"))
    s3.put_object_acl(Bucket=bucket, Key="open", ACL="private")
    with error("AccessDenied", 403):
        nobody.get_object(Bucket=bucket, Key="open")
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert [entry["Key"] for entry in nobody.list_objects_v2(Bucket=bucket)["Contents"]] == ["closed", "open"]
    # At the other way in as well, and at once.
    plain = f"{bucket}-2"
    s3.create_bucket(Bucket=plain)
    s3.put_object(Bucket=plain, Key="k", Body=b"k")
    theirs = boto3.client(
        "s3",
        endpoint_url=(service.cluster.gateway if service.url == service.cluster.server.url else service.cluster.server).url,
        aws_access_key_id=service.keys.access_key,
        aws_secret_access_key=service.keys.secret_key,
        region_name="us-east-1",
    )
    theirs.get_object(Bucket=plain, Key="k")
    rules = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    s3.put_bucket_ownership_controls(Bucket=plain, OwnershipControls=rules)
    theirs.get_object(Bucket=plain, Key="k")
    other = service.cluster.gateway if service.url == service.cluster.server.url else service.cluster.server
    s3.put_object_acl(Bucket=bucket, Key="closed", ACL="public-read")
    elsewhere = boto3.client("s3", endpoint_url=other.url, region_name="us-east-1", config=nobody.meta.config)
    assert elsewhere.get_object(Bucket=bucket, Key="closed")["Body"].read() == b"closed"
    s3.put_object_acl(Bucket=bucket, Key="closed", ACL="private")
    with error("AccessDenied", 403):
        elsewhere.get_object(Bucket=bucket, Key="closed")


def test_who_puts_an_object_owns_it(service, s3, writer):
    keys = writer[1]
    theirs = service.client(keys)
    bucket = make(s3, ACL="public-read-write")
    theirs.put_object(Bucket=bucket, Key="k", Body=b"mine")
    assert theirs.get_object(Bucket=bucket, Key="k")["Body"].read() == b"mine"
    assert grants(theirs.get_object_acl(Bucket=bucket, Key="k")) == [own(keys)]
    for refused in [
        lambda: s3.get_object(Bucket=bucket, Key="k"),
        lambda: s3.head_object(Bucket=bucket, Key="k"),
        lambda: s3.get_object_acl(Bucket=bucket, Key="k"),
        lambda: s3.put_object_acl(Bucket=bucket, Key="k", ACL="private"),
        lambda: s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k"),
        # Whether it holds would tell of the object.
        lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"", IfMatch='"0123456789abcdef0123456789abcdef"'),
        lambda: s3.delete_object(Bucket=bucket, Key="k", IfMatch='"0123456789abcdef0123456789abcdef"'),
    ]:
        with pytest.raises(botocore.exceptions.ClientError) as failed:
            refused()
        assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    guess = {"Objects": [{"Key": "k", "Size": 4}, {"Key": "k", "ETag": "x"}]}
    told = s3.delete_objects(Bucket=bucket, Delete=guess)["Errors"]
    assert [fault["Code"] for fault in told] == ["AccessDenied", "AccessDenied"]
    listed = s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"]
    assert [entry["Owner"]["ID"] for entry in listed] == [keys.user_id]
    theirs.put_object_acl(Bucket=bucket, Key="k", ACL="bucket-owner-read")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"mine"
    with error("AccessDenied", 403):
        s3.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    # A list does not travel with a copy, which is its maker's.
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    assert grants(s3.get_object_acl(Bucket=bucket, Key="copy")) == [own(service.keys)]
    # The bucket's owner deletes what is in it, and takes all of it over with the lists.
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    with error("AccessDenied", 403):
        theirs.put_object(Bucket=bucket, Key="k2", Body=b"")
    rules = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules)
    with error("AccessDenied", 403):
        theirs.get_object(Bucket=bucket, Key="k")
    s3.get_object(Bucket=bucket, Key="k")
    listed = s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"]
    assert {entry["Owner"]["ID"] for entry in listed} == {service.keys.user_id}
    s3.delete_object(Bucket=bucket, Key="k")


def test_preferred_ownership_is_given_with_the_object(service, s3, writer):
    keys = writer[1]
    theirs = service.client(keys)
    bucket = make(s3, "BucketOwnerPreferred", ACL="public-read-write")
    theirs.put_object(Bucket=bucket, Key="given", Body=b"", ACL="bucket-owner-full-control")
    theirs.put_object(Bucket=bucket, Key="kept", Body=b"")
    owners = {entry["Key"]: entry["Owner"]["ID"] for entry in s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"]}
    assert owners == {"given": service.keys.user_id, "kept": keys.user_id}


def test_uploads_in_parts_have_the_list_that_they_began_with(service, s3, writer):
    keys = writer[1]
    theirs = service.client(keys)
    bucket = make(s3, ACL="public-read-write")
    upload = theirs.create_multipart_upload(Bucket=bucket, Key="k", ACL="public-read")["UploadId"]
    part = theirs.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    theirs.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload=parts)
    assert stranger(service).get_object(Bucket=bucket, Key="k")["Body"].read() == b"part"
    assert grants(theirs.get_object_acl(Bucket=bucket, Key="k")) == sorted([own(keys), (ALL_USERS, "READ")])


def test_grants_by_header_and_by_document(service, s3, writer):
    name, keys = writer
    theirs = service.client(keys)
    bucket, owner = make(s3), service.keys
    s3.put_object(Bucket=bucket, Key="k", Body=b"k", GrantRead=f'id="{keys.user_id}"', GrantFullControl=f"id={owner.user_id}")
    assert theirs.get_object(Bucket=bucket, Key="k")["Body"].read() == b"k"
    with error("AccessDenied", 403):
        theirs.get_object_acl(Bucket=bucket, Key="k")
    document = {
        "Owner": {"ID": owner.user_id},
        "Grants": [
            {"Grantee": {"Type": "CanonicalUser", "ID": keys.user_id}, "Permission": permission}
            for permission in ("READ_ACP", "WRITE_ACP")
        ],
    }
    s3.put_object_acl(Bucket=bucket, Key="k", AccessControlPolicy=document)
    with error("AccessDenied", 403):
        theirs.get_object(Bucket=bucket, Key="k")
    assert grants(theirs.get_object_acl(Bucket=bucket, Key="k")) == sorted(
        [(keys.user_id, "READ_ACP"), (keys.user_id, "WRITE_ACP")]
    )
    shown = theirs.get_object_acl(Bucket=bucket, Key="k")
    assert {grant["Grantee"]["DisplayName"] for grant in shown["Grants"]} == {name}
    theirs.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    assert grants(s3.get_object_acl(Bucket=bucket, Key="k")) == sorted([own(owner), (ALL_USERS, "READ")])
    # It is nobody's to give away.
    with error("AccessDenied", 403):
        s3.put_object_acl(Bucket=bucket, Key="k", AccessControlPolicy=document | {"Owner": {"ID": keys.user_id}})
    document["Grants"][0]["Grantee"]["ID"] = "0" * 32
    with error("InvalidArgument", 400):
        s3.put_object_acl(Bucket=bucket, Key="k", AccessControlPolicy=document)
    with error("InvalidArgument", 400):
        s3.put_bucket_acl(Bucket=bucket, GrantRead="id=me")
    with error("UnresolvableGrantByEmailAddress", 400):
        s3.put_bucket_acl(Bucket=bucket, GrantRead="emailAddress=me@example.com")
    with error("InvalidRequest", 400):
        s3.put_object(Bucket=bucket, Key="k", ACL="private", GrantRead=f"id={keys.user_id}")
    with error("NoSuchKey", 404):
        s3.put_object_acl(Bucket=bucket, Key="none", ACL="private")


def test_public_lists_are_blocked_and_ignored(service, s3):
    bucket, nobody = make(s3), stranger(service)
    s3.put_object(Bucket=bucket, Key="k", Body=b"k", ACL="public-read")

    def block(**what):
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=what)

    block(IgnorePublicAcls=True)
    with error("AccessDenied", 403):
        nobody.get_object(Bucket=bucket, Key="k")
    block(BlockPublicAcls=True)
    nobody.get_object(Bucket=bucket, Key="k")
    for refused in [
        lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL="public-read"),
        lambda: s3.put_object_acl(Bucket=bucket, Key="k", ACL="authenticated-read"),
        lambda: s3.put_bucket_acl(Bucket=bucket, GrantRead=f"uri={ALL_USERS}"),
        lambda: s3.create_multipart_upload(Bucket=bucket, Key="k", ACL="public-read"),
    ]:
        with error("AccessDenied", 403):
            refused()
    s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL="private")
    with error("AccessDenied", 403):
        nobody.get_object(Bucket=bucket, Key="k")


def test_ownership_controls_are_set_and_deleted(s3):
    bucket = make(s3, "BucketOwnerPreferred", ACL="public-read")
    enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    with error("InvalidBucketAclWithObjectOwnership", 400):
        s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=enforced)
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=enforced)
    assert s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"] == enforced
    s3.delete_bucket_ownership_controls(Bucket=bucket)
    with error("OwnershipControlsNotFoundError", 404):
        s3.get_bucket_ownership_controls(Bucket=bucket)
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    with error("MalformedXML", 400):
        s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "Mine"}]})


def test_a_policy_denies_what_a_list_grants_and_explain_says_why(service, s3, writer):
    name, keys = writer
    theirs = service.client(keys)
    bucket = make(s3)
    s3.put_object(Bucket=bucket, Key="k", Body=b"k", GrantRead=f"id={keys.user_id}")
    theirs.get_object(Bucket=bucket, Key="k")

    def explain(action, key="k"):
        resource = f"arn:aws:s3:::{bucket}/{key}"
        told = subprocess.run(
            [BINARY, "explain", "access", name, action, resource, "--endpoint", service.url, "--json"],
            env=service.environment() | service.cluster.environment,
            capture_output=True,
            text=True,
        )
        told = json.loads(told.stdout)
        return told["allowed"], told["because"]

    assert explain("s3:GetObject") == (True, "an ACL grants it")
    assert explain("s3:GetObjectAcl")[0] is False
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": deny}))
    with error("AccessDenied", 403):
        theirs.get_object(Bucket=bucket, Key="k")
    assert explain("s3:GetObject")[0] is False


def test_a_missing_key_is_told_to_who_may_list_it(service, s3, writer):
    name, keys = writer
    bucket, theirs = make(s3, "BucketOwnerEnforced"), service.client(keys)
    allow = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::000000000000:user/{name}"},
        "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }
    listing = {**allow, "Action": "s3:ListBucket", "Effect": "Deny"}
    listing["Condition"] = {"StringNotLike": {"s3:prefix": "public/*"}}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": [allow, listing]}))
    with error("NoSuchKey", 404):
        theirs.get_object(Bucket=bucket, Key="public/none")
    with error("AccessDenied", 403):
        theirs.get_object(Bucket=bucket, Key="private/none")
