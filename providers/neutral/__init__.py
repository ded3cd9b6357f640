"""What all wire APIs share.

The neutral ``request``, the ``codec`` protocol, and ``wire_api``, an API as data. Reading a client's JSON: ``fields``
(typed access that names mistakes), ``draft`` (members decoded once, edited in place) with its ``edits``, and
``block_edits`` (blocks of messages). Tables: ``parameters`` (settings of all APIs), ``quirks`` (departures of a
provider from its API), ``hints`` (losses that cannot change an answer), ``patterns`` of names. Requests:
``tool_names``, ``custom_tools``, ``arguments`` of calls, ``formats`` of structured output, ``media``, the ``seal`` on
reasoning that a client carries for its provider, ``tokens`` estimated, ``hosting`` of an API by a platform. Answers:
their ``values`` read without trust, ``shapes`` that a whole answer must have, ``bounds`` on what a reader holds,
``block_order``, several ``choices``, ``token_usage``, ``billing`` beside tokens, the frames of a model that is
``invoked``.
"""
