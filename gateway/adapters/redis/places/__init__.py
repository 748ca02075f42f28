"""Where Redis is, and how commands get there."""
