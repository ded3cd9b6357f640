"""A Responses client's own request for a model that does not take all that the client thinks: sampling that a reasoning
model refuses is left out, an effort that it does not know is lowered.
"""

from providers.catalog.effort import lower_effort
from providers.catalog.sampling import takes_sampling
from providers.neutral.codec import Recipient
from providers.neutral.draft import Draft
from providers.neutral.parameters import BY_NAME

_SAMPLING = ("temperature", "top_p", "top_logprobs")


def adapt(draft: Draft, to: Recipient) -> None:
    """See ``providers.neutral.codec.Codec.adapt``."""
    known = to.known
    effort = lower_effort(draft, "reasoning", known.efforts)
    if not takes_sampling(known, effort):
        draft.drop(*(name for name in _SAMPLING if draft.value(name) not in (None, BY_NAME[name].default, 0)))
