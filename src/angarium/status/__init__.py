"""What became of messages: the recorder."""
