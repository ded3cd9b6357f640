"""A client's request: ``parse`` reads it once, ``prepare`` makes of it what a provider gets.

``rejections`` remembers what providers have rejected, ``retry_without`` is the second try without it; ``tools_in_chat``
tells whose tools are asked for in another API, ``decompress`` bodies, ``public_errors`` what a client may see of a
provider's error.
"""
