"""HTTP for all packages of the gateway.

- ``headers``: headers that cross the gateway; ``passing``: which ones may
- ``paths``: the forms of paths that clients use
- ``compatible``: the paths and headers of clients of other servers; ``litellm_headers``: those of responses
- ``request_scope``: the lifetime of a request and of its connection
- ``response``: a response to a client
- ``json_rpc``: errors for clients of MCP servers
- ``sockets``: reads and writes with one system call
- ``close_codes``: close codes of websockets
- ``certificates``: the names in client certificates
- ``addresses``: IP addresses of clients
- ``message_frames``: the frames of large messages of a websocket
- ``frame_rate``: limits on the small frames of a websocket; ``turns``: turns of connections with tiny frames
- ``pieces``: lists of small pieces
- ``offload`` and ``imports``: slow work in a thread"""
