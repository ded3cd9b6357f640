"""Files, batches and whatever else a provider keeps for a client.

``ids`` makes ids that say where an object is and whose, and tokens for uploads; ``accounts`` are the places where it
may be, ``id_texts`` finds ids in JSON and ``owned_ids`` reads and shows those of one owner; the ``inventory`` holds
what was made through here, for lists, in memory or in an ``inventory_table``; ``pending`` is the expected cost of
running batches.
"""
