"""``gateway bench``: a load generator that measures a gateway and checks everything it sends."""
