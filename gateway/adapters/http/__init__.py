"""Adapters that ask another server over HTTP."""
