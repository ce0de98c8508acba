"""What AWS's answers can mean, for whoever calls it and for whoever translates it."""

from __future__ import annotations

THROTTLING = frozenset({"ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException"})
"""DynamoDB's codes for short capacity: nothing was done, and a later try may fare better."""


class NoAnswer(Exception):
    """No whole answer came back: nobody knows what the endpoint did."""
