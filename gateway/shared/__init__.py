"""What the workers of one machine know in common: ``layout`` of the memory that they share, ``memory`` itself with its
locks and seats, ``rows`` of bytes that are changed in atomic steps, in one process and (``shared_rows``) in several,
``amounts`` of what all have used and each holds or has under way, and ``tables``, all that a worker has of these.
"""
