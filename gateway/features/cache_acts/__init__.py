"""Changes of requests for providers' prompt caches, where the key ``prompt_cache`` of an entry requests them.

The module ``acting`` adds cache marks that pay for their client, and keys and salts of caches."""
