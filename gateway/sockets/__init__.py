"""The WebSocket door: uvicorn protocol classes that turn a connection into a live session."""
