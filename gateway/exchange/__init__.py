"""One request from its body to its settlement.

``exchange`` is its course, ``attempt`` its call to a provider, ``delivery`` the stream between the two sides,
``disconnect`` what goes on without the client; ``service`` is what all exchanges of a process share.
"""
