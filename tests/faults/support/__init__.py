"""Load, faults, watching and judging for the fault tests."""
