"""Sign-ins: credentials that are fetched, and end.

``refreshed`` keeps one and renews it in time, for all requests together; ``sources`` fetches them by the libraries of
AWS, Google and Azure, in threads, and makes those that a configuration needs.
"""
