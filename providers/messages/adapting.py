"""A Messages client's own request for another server than Anthropic's, or another model than the client thinks: what is
known to be refused there is left out, lowered or said in other words.

Sampling stays: what is known of it for Claude is in part a guess about models that are still to come, good for requests
that we write. A refusal of the client's own is learned (``providers/errors/rejected.py``).
"""

from providers.catalog.effort import lower_effort
from providers.messages import compatible_servers
from providers.neutral.codec import Recipient
from providers.neutral.draft import Draft


def adapt(draft: Draft, to: Recipient) -> None:
    """See ``providers.neutral.codec.Codec.adapt``."""
    if any(map(draft.mentions, compatible_servers.MARKS)):
        draft.replace(*compatible_servers.adapted(draft.values(), to.quirks))
    lower_effort(draft, "output_config", to.known.efforts)
