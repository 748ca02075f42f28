"""Adapters that read what somebody else keeps in a file."""
