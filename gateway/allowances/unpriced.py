"""The refusal of a model without a price where money is limited."""

from gateway.routing.target import Target
from streams.events import ErrorInfo


def unpriced_refusal(target: Target) -> ErrorInfo:
    """The error for a request that nobody could count the cost of: as if it cost nothing, it would pass every budget
    for ever (BerriAI/litellm#10598, #12337). The names that the file has are looked at when it is read."""
    return ErrorInfo(
        "invalid_request",
        f"the price of {target.name} is not known, and there is a budget of money for this request: ask for a model "
        f"that has a price, or have one given to the entry {target.entry.name} (`price`, or `unpriced: allow` for all)",
        code="model_not_priced",
        param="model",
    )
