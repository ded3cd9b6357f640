"""Files, batches and whatever else a provider keeps for a client: ``ids`` makes ids that say where one is and whose,
``accounts`` are the places where it may be, ``id_texts`` finds ids in JSON and ``owned_ids`` reads and shows those
of one owner; the ``inventory`` holds what was made through here, for lists, in memory or in an ``inventory_table``;
``opening`` finds the one that a configuration asks for; ``pending`` is what batches that go on are expected to
cost. ``directory`` knows the accounts of a configuration, ``upload_tokens`` stand for a key in the address of an
upload."""
