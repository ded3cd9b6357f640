"""What providers list themselves: ``asking`` them, page by page (``pages``), for the ``lists`` that are kept."""
