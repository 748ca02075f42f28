"""How clients speak: messages and commands to bytes and back, without any I/O."""
