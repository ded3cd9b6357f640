"""The side towards providers: the one place that knows httpx2 and httpcore2."""
