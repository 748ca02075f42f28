"""What the replicas tell each other through Redis beside messages."""
