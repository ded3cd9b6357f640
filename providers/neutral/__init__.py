"""The code that all wire APIs share.

- Core: the neutral ``request``, the ``codec`` protocol, the ``late_codec`` of rarely used APIs, and ``wire_api``, an
  API as data, also one that a platform hosts.
- A client's JSON: ``fields`` (typed access with errors at a path), and ``draft`` (members decoded once, edited in
  place, also in blocks of messages).
- Tables: ``parameters`` (settings of all APIs), ``api_members`` (all members of each API's requests), ``quirks``
  (differences of a provider from its API), ``hints`` (harmless losses), ``levels`` of effort, and ``patterns`` of
  names.
- Requests: ``tool_names`` with the changes of tools and custom tools, ``schemas`` within a provider's limits,
  ``arguments`` of calls, ``formats`` of structured output, ``media``, ``texts``, the ``seal`` of reasoning, estimated
  ``tokens``, and ``next_turns`` with the results of calls.
- Answers: the words of ``ends``, ``values`` without trust, ``shapes`` of whole answers, ``bounds`` of memory, the
  ``block_writer`` with its ``block_order``, ``made_images``, web ``searches`` with their ``search_tools``, several
  ``choices``, in streams the ``other_choices``, which must be ``complete_choices``, ``moderation`` results,
  ``token_usage`` with other billing, the frames of an ``invoked`` model, and ``kept_turns``, which are stored.
"""
