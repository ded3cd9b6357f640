"""HTTP for all packages of the gateway.

- ``headers``: headers that cross the gateway; ``passing``: which ones may
- ``paths``: the forms of paths that clients use
- ``compatible``: the paths and headers of clients of other servers
- ``request_scope``: the lifetime of a request and of its connection
- ``response``: a response to a client
- ``json_rpc``: errors for clients of MCP servers
- ``sockets``: reads and writes with one system call
- ``certificates``: the names in client certificates
- ``addresses``: IP addresses of clients
- ``websocket_frames``: the frames of websockets; ``turns``: turns of connections with tiny frames
- ``offload``: slow work and imports in a thread, and lists of the pieces of a body"""
