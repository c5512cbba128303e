"""What nobody should send, in numbers."""
