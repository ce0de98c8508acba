"""The failures of calls to AWS. The clients in lib/aws raise them, and their callers translate them."""

from __future__ import annotations

THROTTLING = frozenset({"ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException"})
"""DynamoDB's codes for short capacity: DynamoDB did nothing, and a later try may succeed."""


class NoResponse(Exception):
    """No complete response arrived, so the endpoint may or may not have executed the request."""
