"""Traces: ``tracing`` sends ``spans``, some with texts as ``messages``, which the thread of ``reading`` reads.

``feature``: its row and keys; ``opening`` opens it."""
