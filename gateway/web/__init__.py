"""The HTTP doors: the only FastAPI code."""
