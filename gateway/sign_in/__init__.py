"""Sign-ins: where credentials come from that are fetched, and end.

``refreshed`` keeps one and renews it in time, for all requests together; ``aws``, ``google`` and ``azure`` fetch theirs
by the vendors' own libraries, in threads; ``sources`` makes what a configuration needs of them.
"""
