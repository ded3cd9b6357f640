"""Sign-ins at AWS, Google and Azure: credentials that the clouds' own libraries fetch in threads.

- ``sources`` makes the sources that a configuration needs. ``refreshed`` renews a credential before it expires.
- ``aws``, ``google`` and ``azure`` fetch one. Only the first fetch imports them, because their libraries are large.
"""
