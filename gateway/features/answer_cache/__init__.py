"""The response cache: complete responses that identical requests receive again, if the configuration allows it.

- ``eligible``: which requests may use the cache and are identical, and which responses are stored.
- ``cache``: whose requests use the cache; it finds stored responses and those in progress.
- ``flight``: a response in progress that several requests follow.
- ``store``: the protocol of stores and the one in memory; others are ``sqlite`` and ``redis``, and
  ``encrypted`` over them. ``opening`` chooses one.
- ``stored_answer``: the stored form, and its replay.
- ``own_members``: the members that a Responses provider repeats of its request."""
