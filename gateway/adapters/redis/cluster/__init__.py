"""The broker over a Redis Cluster."""
