"""What all wire APIs share: the neutral ``request``, the ``codec`` protocol, and ``wire_api``, an API as data.

``fields`` reads a client's JSON (places of mistakes, and what nobody has read); ``body`` is that JSON, decoded once,
``draft`` edits it in place and lists its ``edits``; ``parameters`` are settings of all APIs, a row each; ``quirks`` are
how a provider may depart from its API; ``hints`` tells which losses cannot change an answer. ``tool_names`` that every
API takes, ``call_ids`` that replace others, several ``choices`` in one answer, ``custom_tools`` of free form, the
``arguments`` of a call as an object, ``formats`` of structured output in words, ``media`` whose type nobody says,
``tokens`` estimated, the ``seal`` on reasoning that a client of another API carries for its provider, ``echo`` what a
response repeats of its request, ``hosting`` of an API by a platform, the frames of a model that is ``invoked``,
``shapes`` that a provider's whole answer must have, ``stages`` of a stream, the ``block_order`` of its blocks, its
``token_usage`` in the words that most have taken over, what it says of the ``billing`` beside tokens, and ``bounds`` on
what a reader holds of it.
"""
