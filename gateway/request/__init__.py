"""A client's request: parsed once, prepared for a provider, and without what that provider rejects."""
