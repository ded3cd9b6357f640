"""Traces: ``tracing`` sends ``spans``, some with texts as ``messages``.

``feature``: its row and keys; ``opening`` opens it."""
