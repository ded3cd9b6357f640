"""The rule for which requests may carry sampling parameters and log probabilities."""

from typing import assert_never

from providers.neutral.quirks import Quirks


def accepts_sampling(quirks: Quirks, effort: str | None) -> bool:
    """Return whether a request with ``effort`` may carry sampling parameters.

    ``effort`` is the level in the outgoing request, ``none`` for no thinking, ``None`` for the model's default. Only
    the outgoing request counts, not the client's, because the provider judges that one (truefoundry/models#2122,
    Soju06/codex-lb#538).
    """
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
