"""Event types, framings, folding and pipes for streams; knows nothing of HTTP or providers."""
