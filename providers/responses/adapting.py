"""A Responses client's own request for a model that does not take all that the client thinks: sampling that a reasoning
model refuses is left out, an effort that it does not know is lowered.
"""

from providers.codec import Recipient
from providers.controls import BY_NAME
from providers.draft import Draft
from providers.effort import lower_effort
from providers.sampling import takes_sampling

_SAMPLING = ("temperature", "top_p", "top_logprobs")


def adapt(draft: Draft, to: Recipient) -> None:
    """See ``providers.codec.Codec.adapt``."""
    known = to.known
    effort = lower_effort(draft, "reasoning", known.efforts)
    if not takes_sampling(known, effort):
        draft.drop(*(name for name in _SAMPLING if draft.value(name) not in (None, BY_NAME[name].default, 0)))
