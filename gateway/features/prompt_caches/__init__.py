"""Explains for each exchange which prompt tokens the provider's cache could have served, and what broke the prefix.

Each request is compared with the earlier exchange that it continues, its parent. A *boundary* is a position in a prompt
where an earlier request left a cache entry. Three numbers of tokens describe an exchange:

- *could*: up to the parent's last boundary
- *readable*: up to the deepest live boundary that the request, as sent, leaves unchanged and that the provider finds
- *read*: what the provider reports; *missed* is *could* without *read*

The difference between *could* and *readable* is a change by the client or the gateway. The difference between
*readable* and *read* is time or the provider. A cause is reported only if it explains the provider's number.

The modules that compare are pure: no I/O and no clock. All of them keep digests and lengths of texts, never a text.

- ``opening``: opens the feature of the row ``feature``
- ``attempts``: opens the ``tracker`` with the first prompt that matters, and observes each attempt with such a prompt.
  When the request was sent, it reads the prompt and finds its parent; when the exchange is settled, it adds the verdict
  to the attempt's record. An error in this code is logged once, and fails no request. ``sent_prompts`` has the parts of
  a request that the tracker needs. It also finds the targets that cache a prompt, and requests a provider's explanation
- ``interface``: the verdict that other observers read in the record of an attempt
- ``values``: the forms of verdicts in headers and log lines
- ``prompts``: a request as comparable blocks, which are ``rows`` of bytes, with ``chunks`` of its system texts.
  ``reading`` reads it, with ``items``, by the ``tables``. ``memo`` remembers parts that were read before.
- ``positions``: where later requests recognize a prompt, and where providers leave and find cache entries
- ``conversations``: other facts about conversations, and about an attempt and its parent
- ``differences``: the first difference of two prompts
- ``comparisons``: a request compared with its parent
- ``verdicts``: the causes of a miss, and its price
- ``texts``: the latest prompts as texts, if the operator enables them, and excerpts around a difference
- ``tracker``: follows attempts and remembers them in the ``memory`` of all workers, with the boundaries that they
  leave. The reader in ``requests`` has each client's memo, and ``parents`` finds what a request continues.
- ``structures``: the bases of structures that many requests make

The cache of responses (``answer_cache``) is unrelated."""
