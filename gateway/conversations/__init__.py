"""Stored conversations: the earlier turns that a request continues, and turns stored for later requests.

- ``history`` loads what a request refers to (by API: ``turn_history``, ``thread_history``) and returns it ``resolved``.
- ``stored_api`` describes an API whose turns are stored and the options of its requests, ``stored_apis`` finds its
  row: ``stored_responses``, ``stored_interactions``. ``other_turns`` lists the turns of one API in the form of another.
- ``recorder``: the protocol that stores a turn while its response is sent: ``local_turn``, ``passed_turn``,
  ``provider_turn``, ``thread_turn``.
- ``background`` runs turns that continue without their client.
- ``bodies``: the contents of the store's nodes; ``conversation_store``: conversations in the store; ``deadline``:
  the time limit of requests to the store."""
