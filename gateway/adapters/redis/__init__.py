"""Adapters that join replicas through Redis."""
