"""Changes of requests for providers' prompt caches, where the key ``prompt_cache`` of an entry requests them.

- ``acting``: adds cache marks
- ``cache_names``: adds keys and salts of caches
- ``diagnoses``: requests the provider's own explanation of a miss
- ``mark_guard``: whether marks pay for a client"""
