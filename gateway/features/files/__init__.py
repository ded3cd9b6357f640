"""Objects that providers store for clients, and batches.

- ``routes``: their paths.
- ``kept``: files, uploads and other objects, in the forms of ``kept_forms``; ``kept_uploads``: Google's uploads.
- ``batches``: lists of requests; ``new_batches``: requests that create one; ``batch_costs``: their costs."""
