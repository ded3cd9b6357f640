"""The response cache: complete responses that identical requests receive again, if the configuration allows it.

- ``outcome``: what the cache did for an exchange, for its headers and its log line.
- ``eligible``: which requests may use the cache and are identical, and which responses are stored.
- ``filling`` wraps the walk: it serves cached responses and stores new ones. ``lookup`` finds one for each target;
  ``relayed`` has the rules for endpoints other than conversations.
- ``cache``: whose requests use the cache; it finds stored responses and those in progress.
- ``flight``: a response in progress that several requests follow.
- ``store``: the protocol of stores and the one in memory; others are ``sqlite`` and ``redis``, and
  ``encrypted`` over them. ``opening`` opens the cache with one, ``feature`` is its row.
- ``stored_answer``: the stored form, and its replay.
- ``own_members``: the members that a Responses provider repeats of its request.
- ``checks`` of its keys in the configuration, and ``interface`` for the feature that keeps answers of clients that have
  left."""
