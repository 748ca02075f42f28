"""Fixtures of whole deployments."""

from tests.support.stack import stack as stack
