"""State: the earlier turns that a request goes on from, and the turns that are stored for later ones.

Before the provider is asked: ``history`` loads what a request refers to (by API: ``response_history``,
``thread_history``), and returns it ``resolved``.

As the answer comes: a ``recorder`` stores the turn: a ``local_turn``, a ``passed_turn``, a ``provider_turn`` or a
``thread_turn``.
``background`` runs turns that go on without their client.

``bodies`` are the contents of the store's nodes, ``conversation_store`` the conversations that grow in it, ``deadline``
the time that a request waits for it."""
