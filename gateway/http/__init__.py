"""HTTP for all packages of the gateway.

- ``headers``: headers that cross the gateway; ``passing``: which ones may
- ``paths``: the forms of paths that clients use
- ``external_url``: the URL at which clients reach the gateway
- ``request_scope``: the lifetime of a request and of its connection
- ``response``: a response to a client
- ``pages``: what pages for people share
- ``sockets``: reads and writes with one system call
- ``redaction``: the removal of credentials from texts, with ``urls``
- ``certificates``: the names in client certificates
- ``addresses``: IP addresses of clients
- ``listener_rules``: the paths and clients of listeners
- ``turns``: turns of connections with tiny frames
- ``threads``: calls in threads; ``offload``: slow work there; ``late_imports``: imports while the gateway serves
  requests
- ``pieces``: lists of the pieces of a body; ``codings``: compressed bodies"""
