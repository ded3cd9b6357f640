"""Traces: ``tracing`` sends ``spans``, some with texts as ``messages``. ``settings``: the keys."""
