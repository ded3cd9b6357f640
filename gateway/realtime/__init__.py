"""Realtime sessions: websockets that are passed on between a client and a provider, read for what they use.

``routes`` are the paths, ``opening`` is what they have in common. ``models`` says where a session goes, ``dialing``
asks there for a websocket, and a ``session`` passes messages on: from the client's ``inbox`` to the provider and back,
under the eyes of a ``meter``. ``calls`` are sessions whose sound goes past the gateway; ``resumption`` has those that
another goes on from.

Pure are ``subprotocols`` and ``closing``, for what differs between the two sides, and the ``shapes`` of the APIs:
``notices`` are what is found in frames, by ``events`` in OpenAI's API and by ``gemini_live`` in Gemini's, in their JSON
``objects``; ``unread`` frames are those of other protocols.
"""
