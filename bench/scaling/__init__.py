"""The parts of `bench/scale_out.py`: several replicas, one Redis, and listeners that come back."""
