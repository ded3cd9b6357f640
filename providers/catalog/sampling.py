"""Models that take sampling parameters and log probabilities."""

from typing import assert_never

from providers.neutral.quirks import Quirks


def takes_sampling(quirks: Quirks, effort: str | None) -> bool:
    """``effort`` is what the request says of thinking as it goes out: a level (any word), ``none`` for none at all,
    ``None`` where it says nothing, so that the model does as it is used to. What the client asked for and the provider
    is not stated does not count: it is the request that is refused (truefoundry/models#2122, Soju06/codex-lb#538)."""
    match quirks.sampling:
        case "free":
            return True
        case "never":
            return False
        case "only_effort_none":
            return effort == "none"
        case "unless_thinking":
            return effort is None or effort == "none"
        case _:
            assert_never(quirks.sampling)
