"""Real servers, real sockets and fakes for the tests."""
