"""Signatures are equal to botocore's and cover every header."""

from __future__ import annotations

from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.aws.sigv4 import authorization

VALUES = st.text("abcXYZ019-_/.,;:=\t ~%ä", min_size=1, max_size=12)
HOSTS = ["dynamodb.us-east-1.amazonaws.com", "127.0.0.1:8000", "[::1]:1", "[2001:db8::1]", "elsewhere.example.com."]
PATHS = ["/", "/base", "/a%20b/../c//d~", "/./x/", "/ä*(b)", "//"]


@given(
    body=st.binary(max_size=50),
    headers=st.dictionaries(st.sampled_from(["X-Amz-Target", "Content-Type", "X-amz-Odd", "A"]), VALUES),
    secret=st.text(min_size=1, max_size=40),
    token=st.none() | st.text("abc+/=", min_size=1),
    region=st.sampled_from(["us-east-1", "eu-central-1", "cn-north-1"]),
    service=st.sampled_from(["dynamodb", "cognito-idp"]),
    url=st.builds("https://{}{}".format, st.sampled_from(HOSTS), st.sampled_from(PATHS)),
)
@settings(deadline=None)
def test_signature_is_equal_to_botocores(
    body: bytes, headers: dict[str, str], secret: str, token: str | None, region: str, service: str, url: str
) -> None:
    credentials = Credentials("AKIDEXAMPLE", secret, token).get_frozen_credentials()
    request = AWSRequest("POST", url, headers, body)
    SigV4Auth(credentials, service, region).add_auth(request)
    parts, signed = urlsplit(url), dict(request.headers.items())
    expected = signed.pop("Authorization")
    signed["Host"] = parts.netloc
    assert expected == authorization(
        signed, body, path=parts.path, credentials=credentials, region=region, service=service
    )
    assert f"SignedHeaders={';'.join(sorted(name.lower() for name in signed))}," in expected
