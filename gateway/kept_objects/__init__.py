"""Files, batches and other objects that providers store for clients.

- ``ids``: client ids that contain the object's account and owner, and tokens for uploads.
- ``accounts``: the accounts at providers; ``id_texts`` finds ids in JSON; ``owned_ids`` translates those of one
  owner.
- ``inventory``: objects created through the gateway, for lists; in memory, or in an ``inventory_table``.
- ``pending``: the expected cost of running batches.
- ``provider_runs``: answers that providers continue in the background, until they are billed."""
