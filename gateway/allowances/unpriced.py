"""The refusal of a model without a price where money is limited."""

from gateway.allowances.allowances import Allowances
from gateway.routing.target import Target
from streams.errors import GatewayError
from streams.events import ErrorInfo


def check_priced(allowances: Allowances, client: str | None, target: Target, at: float, run: str | None) -> None:
    """Raise ``GatewayError`` where the money of a request of ``run`` is limited and nobody knows what ``target``
    costs."""
    if target.price is not None or not allowances.refuses_unpriced:
        return
    limits = (*allowances.of_client(client), *allowances.of_target(target))
    if any(one.measure == "usd" and one.counter(at, run) is not None for one in limits):
        raise GatewayError.of(unpriced_refusal(target))


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
