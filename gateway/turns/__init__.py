"""What a request takes from earlier turns and leaves for later ones.

``keeping`` is the seam between an exchange and the store, ``recall`` the table of APIs that have such a thing:
``responses`` with ``kept`` for the Responses API, ``threads`` for Messages. ``background`` runs turns whose client has
left on purpose.
"""
