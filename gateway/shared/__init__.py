"""What the workers of one machine know in common: ``layout`` of the memory that they share, ``memory`` itself with its
locks and seats, ``rows`` of bytes that are changed in atomic steps, in one process and (``shared_rows``) in several,
``counts`` of what each has under way, ``amounts`` of what all have used and each holds, and ``tables``, all that a
worker has of these. ``nameless`` is a file for it.
"""
