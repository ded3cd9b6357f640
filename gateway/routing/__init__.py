"""From a model's name to a plan: ``router``, ``target``, ``plan``. How its attempts follow one another is a rule or a
policy each: ``once``, ``retry_without`` (with ``omissions``), and ``in_order`` for several."""
