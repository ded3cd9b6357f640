"""Provider bytes to client bytes, pure: ``lanes``."""
