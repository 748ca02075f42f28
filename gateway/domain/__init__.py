"""What is true: pure, synchronous rules and values. Imports nothing from outside this package."""
