"""Objects that providers store for clients, and batches.

- ``routes``: their paths; ``opening``: the state of a process.
- ``kept``: files, uploads and other objects, in the forms of ``kept_forms``; ``kept_uploads``: Google's uploads.
- ``file_uploads``: uploads in the form of OpenAI; ``object_answers``: responses with stored objects.
- ``videos``: videos, which providers store, too.
- ``batches``: lists of requests; ``new_batches``: requests that create one; ``batch_costs``: their costs.
- ``kept_ids``: ids of stored objects in conversations; ``provider_runs``: the bills of answers that a provider
  continues in the background; ``unread_batches``: the bills of batches that no client reads."""
