"""One request from its body to its settlement.

``exchange`` is its course. ``planned`` is the client's request with its plan, which ``planning`` makes; ``walk`` goes
along it, one ``attempt`` after the other or two in a ``race``, under the ``conditions`` of the moment. ``reserving``
says what is expected of it. ``answering`` makes the client's answer of the provider's, ``stream`` runs a streamed one:
``delivery`` is its course to the client as a table, ``body`` the response that runs it. ``disconnect`` goes on without
the client, ``uploading`` sends a body as it comes, ``cached`` answers out of the cache, and ``stamped`` writes those
the same each time. ``kept_ids`` are ids of files in conversations. ``responding`` writes the head of every response,
and errors in the client's shape. ``context`` is what all attempts of one exchange share, ``service`` what all exchanges
of a process share, until it is ``replaced``.
"""
