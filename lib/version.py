"""The version of this backend; the health check returns it."""

VERSION = "1.0.0"
