"""Notices about budgets for receivers of the operator. ``feature``: its row and keys; ``opening`` opens and sends
them."""
