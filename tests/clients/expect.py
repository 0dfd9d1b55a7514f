"""What a client is told: the code and the status of an error."""

import contextlib

import botocore.exceptions
import pytest


@contextlib.contextmanager
def error(code, status):
    """The block must fail with this S3 error code and HTTP status."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        yield caught
    response = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status), response
