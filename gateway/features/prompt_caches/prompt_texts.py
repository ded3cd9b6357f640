"""The texts of an exchange around the first difference of its prompt from its parent's, for the live view.

Imported only for a configuration with ``texts``. The gateway sent these texts, after the masks of steps."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from gateway.config.redaction import redact
from gateway.exchange.target_request import TargetRequest
from gateway.features.prompt_caches.compared_values import excerpts_of
from gateway.features.prompt_caches.texts import LatestPrompts, ShownTexts
from gateway.http.offload import offload
from gateway.request.public_errors import secrets_of

if TYPE_CHECKING:
    from gateway.features.prompt_caches.tracker import FollowedAttempt, FollowedExchange, PromptTracker


Compare: TypeAlias = Callable[[], Awaitable[None]]


class ExchangeTexts:
    """The texts of one exchange: its parent's, and that of its last attempt until the response begins."""

    def __init__(self, texts: LatestPrompts) -> None:
        self.shown = ShownTexts(texts)
        self._texts = texts
        self._earlier: bytes | None = None
        self._own: bytes | None = None
        self._exchange: FollowedExchange | None = None

    def note(
        self,
        tracker: "PromptTracker",
        attempt: "FollowedAttempt",
        target_request: TargetRequest,
    ) -> Compare | None:
        """Note an attempt's text. Return a function that compares it with its parent's, if there is a difference."""
        checks = target_request.context.checks
        if checks is not None and checks.may_hide_later:
            return None  # a step may still mask or refuse a part of it
        exchange, self._own = attempt.exchange, target_request.prepared.outgoing.body
        if self._exchange is None:
            self._exchange = exchange
            if (parent := exchange.parent) is not None:
                self._earlier = self._texts.find(exchange.owner, parent.id, parent.conversation.ends[-1].sent)
        if self._earlier is None or exchange.parent is None:
            return None
        change = tracker.compare(attempt).change_in_reach
        if change is None:
            return None
        prompts = exchange.parent.prompt, attempt.read.prompt
        return partial(self._compare, (self._earlier, self._own), prompts, change, _mask(target_request))

    async def _compare(self, bodies: tuple[bytes, bytes], *more: Any) -> None:
        """Set the texts that viewers see. Large ones are read in a thread."""
        self.shown.show(await offload(sum(map(len, bodies)), excerpts_of, bodies, *more))

    def keep(self) -> None:
        """Store the text of the attempt whose successful response begins, as the latest of the conversation."""
        exchange, body = self._exchange, self._own
        if exchange is not None and exchange.id is not None and body is not None:
            self._texts.keep(exchange.owner, exchange.id, exchange.sent, body)
        self._own = self._earlier = None


def _mask(target_request: TargetRequest) -> Callable[[str], str]:
    """Return a function that removes credentials from a text: those of the exchange, and everything like a key."""
    context = target_request.context
    secrets = secrets_of(target_request.target, context.client_request.credential)
    return partial(_redact, context.service.ledger.mask, secrets)


def _redact(mask: Callable[[str], str], secrets: tuple[str, ...], text: str) -> str:
    data = redact(text.encode(errors="surrogatepass"), secrets)
    return mask(data.decode(errors="replace"))
