"""One request from its body to its settlement.

``exchange`` is its course, ``attempt`` its call to a provider, ``delivery`` the course of a stream to its client as a
table, ``body`` the response that runs it, ``disconnect`` what goes on without the client; ``service`` is what all
exchanges of a process share.
"""
