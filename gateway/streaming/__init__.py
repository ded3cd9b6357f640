"""Provider bytes to client bytes, pure."""
