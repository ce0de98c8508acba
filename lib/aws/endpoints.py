"""Where AWS is: the URL of a service in a region of any partition, and the certificates that it is checked against."""

from __future__ import annotations

import os
import re

from botocore.httpsession import get_cert_path
from botocore.session import Session


def endpoint_url(session: Session, service: str, region: str, *, configured: str | None) -> str:
    """The URL that is configured for the service or for all of AWS; else the region's own, https on port 443."""
    if url := configured or os.environ.get("AWS_ENDPOINT_URL"):
        return url
    partitions = session.get_data("partitions")["partitions"]
    matching = (each["outputs"] for each in partitions if re.match(each["regionRegex"], region))
    partition = next(matching, partitions[0]["outputs"])
    name = f"{service}-fips" if session.get_config_variable("use_fips_endpoint") else service
    suffix = "dualStackDnsSuffix" if session.get_config_variable("use_dualstack_endpoint") else "dnsSuffix"
    return f"https://{name}.{region}.{partition[suffix]}"


def ca_bundle(session: Session) -> str:
    """The file of the certificates to trust, as boto3 chooses it."""
    own = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    return str(get_cert_path(own or True))
