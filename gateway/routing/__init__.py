"""From a model's name to a plan: ``router``, ``target`` with its ``identity``, ``plan``; ``walls`` keep clients inside
of some entries. What is known of a name is ``described``, ``endpoint_defaults`` say which one a request means that
names none. How its attempts follow one another is a rule or a policy each: ``once``, ``fallback`` (which ends with
the failure that is ``most_useful``), ``retry_without`` (with ``omissions``), and ``in_order`` for several;
``hedging`` is for two attempts at a time."""
