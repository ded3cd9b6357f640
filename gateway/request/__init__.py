"""Reads a client's request once and prepares it for each provider.

- ``client_request``: its HTTP side
- ``parse``: reads its body; ``structure`` and ``members`` check it; ``decompress`` decodes it
- ``further_models``: the additional models that it names
- ``sessions``: its session
- ``suitability``: the candidates that can serve it; ``request_kinds``: the kinds of requests that some are for
- ``routing_options``: routing by the client; ``narrowing`` applies it
- ``repeatable``: whether two providers may work on it at the same time
- ``prepare``: its form for a provider (``prepared``), edited in the byte lane or translated in the hub lane
- ``wire``: the HTTP request to the provider
- ``rejections``: the parts that a provider rejected
- ``tools_in_chat``: requests with tools that need another API
- ``public_errors``: a provider's errors for clients"""
