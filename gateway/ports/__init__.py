"""What we need from outside the process, as promises; ``tests/contracts`` checks every adapter."""
