"""What happens: the hub, sessions, tokens. Knows no HTTP, no Redis and no server."""
