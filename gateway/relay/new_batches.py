"""The body of a request that creates a batch of OpenAI's form: every model, agent and file that it names is checked.

Providers have members of their own: Mistral's jobs (https://docs.mistral.ai/api/endpoint/batch) have several files, or
the requests themselves, and a model or an agent for all of them. A member that is not listed here could name another
model, or another client's file, so only clients without any limit may send one."""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from gateway.relay.batch_models import BatchModels, BatchSummary
from gateway.request.members import TEXT, check_members, decode_member
from streams.errors import GatewayError, invalid
from streams.surrogates import NOT_JSON

MemberKind: TypeAlias = Literal["files", "model", "agent", "requests", "endpoint", "plain"]
"""The content of a member: ids of input files, a model or an agent for all requests, the requests, their path, or
something that selects nothing."""

MEMBERS: Final[Mapping[str, MemberKind]] = {
    "input_file_id": "files",
    "input_files": "files",  # Mistral
    "input_file_ids": "files",
    "model": "model",  # Mistral, LiteLLM
    "model_id": "model",  # Together
    "agent_id": "agent",  # Mistral
    "requests": "requests",  # Mistral
    "endpoint": "endpoint",
    "completion_window": "plain",
    "metadata": "plain",
    "name": "plain",  # xAI
    "output_expires_after": "plain",
    "priority": "plain",  # Together
    "timeout_hours": "plain",  # Mistral
}
"""The members of a new batch at all providers of OpenAI's form."""

_REQUEST_MEMBERS: Final = frozenset(("custom_id", "body"))

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_TEXTS: Final = msgspec.json.Decoder(str | list[str])


@attrs.frozen(eq=False, repr=False)
class NewBatch:
    """The members of a request that creates a batch.

    ``models`` and ``agents`` are by member, for all requests. ``files`` are the ids of input files. ``requests`` are
    those in the body, ``endpoint`` is their path."""

    members: Mapping[str, msgspec.Raw]
    files: tuple[str, ...]
    models: Mapping[str, str]
    agents: tuple[str, ...]
    requests: tuple[msgspec.Raw, ...]
    endpoint: str | None

    @classmethod
    def of(cls, body: bytes) -> "NewBatch":
        """Read ``body``, a JSON object. Raises ``GatewayError`` (400) for an unknown member, or one of another type."""
        members = {name: raw for name, raw in _OBJECT.decode(body).items() if bytes(raw) != b"null"}
        for name in members:
            if name not in MEMBERS:
                raise invalid(f"the gateway does not know the member {name[:100]!r} of a batch: remove it", name[:100])
        files = [decode_member(members, name, _TEXTS, "an id or a list of ids") for name in _names("files", members)]
        models = {name: decode_member(members, name, TEXT, "a string") or "" for name in _names("model", members)}
        if len(set(models.values())) > 1:
            raise invalid(f"{' and '.join(models)} name different models: send one of them", next(iter(models)))
        endpoint = [decode_member(members, name, TEXT, "a string") for name in _names("endpoint", members)]
        requests = [decode_member(members, name, _LIST, "a list of requests") for name in _names("requests", members)]
        return cls(
            members,
            tuple(file for found in files for file in ([found] if isinstance(found, str) else found or ())),
            models,
            _names("agent", members),
            tuple(one for found in requests for one in found or ()),
            next(iter(endpoint), None),
        )

    @property
    def model(self) -> str | None:
        """The model of all requests, if the batch names one."""
        return next(iter(self.models.values()), None)

    def with_checked_models(self, models: BatchModels) -> bytes:
        """Return the body with the provider's names of its models, which ``models`` has checked. Raises
        ``GatewayError``."""
        for member in self.agents:
            models.check_provider_choice(member)
        changed: dict[str, Any] = dict(self.members)
        if self.model is not None:
            name = models.name_of(self.model, self._url)
            changed |= dict.fromkeys(self.models, name)
        if self.requests:
            changed["requests"] = [
                msgspec.Raw(self._rewrite_request(bytes(one), f"requests[{at}]", models))
                for at, one in enumerate(self.requests)
            ]
        return msgspec.json.encode(changed)

    def check_file(self, summary: BatchSummary, models: BatchModels) -> None:
        """Check that the lines of an input file may be used, and agree with the batch. Raises ``GatewayError``.

        The batch's own model and path replace those of the lines at some providers."""
        own = None if self.model is None else models.name_of(self.model, self._url)
        for model, url in summary.named:
            name = models.name_of(model, url)
            if own is not None and name != own:
                raise invalid(f"the batch is for {self.model!r}, but a line of its file has {model!r}", "model")
            if self.endpoint is not None and url != self.endpoint:
                raise invalid(f"the batch is for {self.endpoint[:100]}, but a line has the url {url[:100]}", "endpoint")

    @property
    def _url(self) -> str:
        if self.endpoint is None:
            raise invalid("endpoint is missing: it is the path of the batch's requests", "endpoint")
        return self.endpoint

    def _rewrite_request(self, one: bytes, at: str, models: BatchModels) -> bytes:
        """Return a request of the batch with the provider's model name, if it names a model. Raises ``GatewayError``
        with the position ``at``."""
        try:
            members = _OBJECT.decode(one)
            check_members(one, members)
            body = bytes(members.get("body", b"null"))
            fields = _OBJECT.decode(body)
            named = TEXT.decode(fields["model"]) if "model" in fields else None
        except NOT_JSON:
            raise invalid(f"{at} must be an object with custom_id and body, and its model a string", at) from None
        if unknown := members.keys() - _REQUEST_MEMBERS:
            raise invalid(f"the gateway does not know the member {min(unknown)[:100]!r} of {at}: remove it", at)
        model = named if named is not None else self.model
        if model is None and not self.agents:
            raise invalid(f"{at} has no model: add it there, or to the batch", f"{at}.body.model")
        if model is None:
            return one
        if named is not None and self.model is not None and named != self.model:
            raise invalid(f"{at} has another model than the batch: remove one", f"{at}.body.model")
        try:
            rewritten = models.rewrite(model, self._url, body)
        except GatewayError as error:
            info = attrs.evolve(error.info, message=f"{at}: {error.info.message}", param=f"{at}.body.model")
            raise GatewayError.of(info) from None
        return one if rewritten == body else msgspec.json.encode({**members, "body": msgspec.Raw(rewritten)})


def _names(kind: MemberKind, members: Mapping[str, msgspec.Raw]) -> tuple[str, ...]:
    return tuple(name for name in members if MEMBERS.get(name) == kind)
