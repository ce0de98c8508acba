"""The version of this backend, as the health check names it."""

VERSION = "1.0.0"
