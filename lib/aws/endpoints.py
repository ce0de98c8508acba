"""The URL of an AWS service in a region of any partition, and the certificates to trust."""

from __future__ import annotations

import os

from botocore.endpoint_provider import EndpointProvider
from botocore.httpsession import get_cert_path
from botocore.session import Session


def endpoint_url(session: Session, service: str, region: str, *, configured: str | None) -> str:
    """The URL configured for the service or for all of AWS; else the region's own, https on port 443."""
    if url := configured or os.environ.get("AWS_ENDPOINT_URL"):
        return url
    loader = session.get_component("data_loader")
    rules = loader.load_service_model(service, "endpoint-rule-set-1")
    variants = {
        "UseFIPS": bool(session.get_config_variable("use_fips_endpoint")),
        "UseDualStack": bool(session.get_config_variable("use_dualstack_endpoint")),
    }
    return str(EndpointProvider(rules, loader.load_data("partitions")).resolve_endpoint(Region=region, **variants).url)


def ca_bundle(session: Session) -> str:
    """The file of the certificates to trust, as boto3 chooses it."""
    bundle = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    return str(get_cert_path(bundle or True))
