"""Changes of requests for providers' prompt caches, where the key ``prompt_cache`` of an entry requests them.

``feature``: its row; ``opening`` opens it. ``acting`` adds cache marks that pay for their client, and keys and salts of
caches. ``changes``: their names in the configuration, with ``checks``."""
