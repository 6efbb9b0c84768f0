"""What each operation of the client does, written once for both of its faces."""
