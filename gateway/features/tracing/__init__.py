"""Traces: ``tracing`` sends ``spans``, some with texts as ``messages``.

``feature``: its row; ``opening`` opens it. ``settings``: the keys."""
