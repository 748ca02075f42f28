"""Adapters that live in this process: one replica, nothing survives a restart."""
