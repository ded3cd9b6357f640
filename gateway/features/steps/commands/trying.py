"""``trigate steps try``: runs a configuration's steps on a captured request or response."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import attrs
import click
import msgspec
import trio

from configfile.document import ConfigError
from configfile.users_files import read_file
from gateway.commands.check import load_or_explain
from gateway.commands.client_names import with_client
from gateway.commands.tables import TableColumn, table_lines
from gateway.commands.terminal import count_text, echo_styled, say
from gateway.config.settings import Config
from gateway.features.steps.advice import steps_of_request
from gateway.features.steps.json_texts import NotJson
from gateway.features.steps.loaded import AnswerSteps, AppliedSteps, LoadedStep, StepSet
from gateway.features.steps.loading import load_steps
from gateway.features.steps.masks import Placeholders, Span, merge_spans
from gateway.features.steps.request_texts import RequestTexts
from gateway.features.steps.resources import first_error
from gateway.features.steps.response_steps import ResponseSteps
from gateway.features.steps.response_texts import UnreadTexts
from gateway.features.steps.runner import StepFailed
from gateway.features.steps.runs import UNREAD
from gateway.features.steps.session import CheckedTexts, StepSession, unreadable_path
from gateway.features.steps.verdicts import RefusedByStep, StepRecords
from providers.apis import CODECS
from providers.framings import events_in, framing_of
from providers.grammar import detect
from providers.neutral.choices import MEMBERS, ChoiceReaders, split_other_choices
from providers.recordings import SUFFIXES, UnreadableRecording, read_recording
from providers.request_api import possible_apis
from streams.errors import GatewayError
from streams.events import Api, Event, NativeItem
from streams.surrogates import NOT_JSON
from trigate.steps import Check, Finding, Moment, Passage


class TrialSession(StepSession):
    """A session that only collects findings and failures, and refuses nothing. ``facts`` has the members of each
    ``Check`` that are the same.

    ``texts`` is the number of texts that steps can see. ``rows`` are the findings: step, action, label, path, span and
    text. ``failures`` have the reasons of steps that failed, or could not read a part of the content. Because of the
    steps in ``refusing``, the gateway would refuse the content."""

    def __init__(self, facts: Check) -> None:
        self.texts = 0
        self.rows: list[tuple[str, ...]] = []
        self.failures: list[str] = []
        self.refusing: dict[str, None] = {}
        self._later: list[Callable[[], Awaitable[None]]] = []
        super().__init__(AppliedSteps(()), facts, Placeholders(b"", ""), StepRecords(), self._later.append)

    def make_check(self, at: Moment, passages: tuple[Passage, ...], is_last: bool) -> Check:
        self.texts = max(self.texts, len(passages))
        return super().make_check(at, passages, is_last)

    def apply_findings(
        self, step: LoadedStep, passages: Sequence[Passage], findings: Sequence[Finding], at: Moment, counted: int = 0
    ) -> list[list[Span]]:
        spans: dict[int, list[Span]] = {id(one): [] for one in passages}
        for one in findings:
            action, text = step.action_for(one.label, one.action), one.passage.text[one.start : one.end]
            place = one.passage.path or "(the whole body)"
            self.rows.append((step.name, action, one.label, place, f"{one.start}-{one.end}", repr(text)))
            if action == "refuse":
                self.refusing[step.name] = None
            elif action == "mask" and at != "during":
                spans[id(one.passage)].append(Span.of(one))
        return [merge_spans(spans[id(one)]) for one in passages]

    def note_failure(self, failed: StepFailed, at: Moment = "response") -> None:
        self._add_failure(failed.step, failed.detail or failed.reason)

    def note_unreadable(self, step: LoadedStep, texts: CheckedTexts, at: Moment) -> None:
        if (path := unreadable_path(step, texts.unreadable)) is not None:
            self._add_failure(step, f"no step can read {path}")

    def _add_failure(self, step: LoadedStep, reason: str) -> None:
        self.failures.append(f"  {step.name}  failed: {reason}")
        if step.refuses_unchecked:
            self.refusing[step.name] = None

    async def finish_reports(self) -> None:
        """Wait for the calls of steps that only report."""
        while self._later:
            await self._later.pop()()


async def try_request(steps: Sequence[LoadedStep], facts: Check, api: str, body: bytes) -> TrialSession:
    """Run ``steps`` on the request ``body``; each sees the masks of those before it. Raises ``NotJson``."""
    trial, texts = TrialSession(facts), RequestTexts.of(api, body)
    trial.texts = len(texts.passages)
    for step in steps:
        for moment in step.moments:
            if moment == "during":
                await trial.judge_during(step, texts)
            elif moment == "request":
                try:
                    texts = await trial.check_texts([step], texts)
                except RefusedByStep:
                    trial.failures.append(f"  {step.name}  failed: it masks the name of a member, which cannot be sent")
                    trial.refusing[step.name] = None
            await trial.finish_reports()
    return trial


async def try_response(steps: Sequence[LoadedStep], facts: Check, choices: Sequence[Sequence[Event]]) -> TrialSession:
    """Run ``steps`` on the events of a complete response by choice; each sees the masks of those before it."""
    trial = TrialSession(facts)
    for step in steps:
        if step.at("response"):
            checks = ResponseSteps(trial, AnswerSteps((step,)), restores=False)
            choices = await checks.check_whole(choices, 0)
            await trial.finish_reports()
    return trial


@attrs.frozen(eq=False, repr=False)
class Captured:
    """The content of a file: a request, a response, or both. ``model`` is the requested one, if known."""

    api: Api
    model: str
    request: bytes | None = None
    response: bytes | None = None


def run(file: Path, api: Api | None, path: Path | None, key: str | None, texts: bool) -> int:
    """Run ``trigate steps try`` and return its exit status."""
    config = load_or_explain(path, with_stored_secrets=True)
    if config is None:
        return 2
    try:
        config = with_client(config, key)
        captured = read_captured(file, api)
        trials = trio.run(_try_all, config, load_steps(config), captured, key)
    except (ConfigError, UnreadableRecording) as error:
        say(str(error))
        return 2
    except NotJson:
        say(f"{file}: the request is not valid JSON")
        return 2
    except GatewayError as error:
        say(f"{file}: {error.info.message}")
        return 2
    except click.ClickException as error:
        say(error.message)
        return 2
    for name, trial in trials.items():
        for line in _trial_lines(name, trial, with_texts=texts):
            echo_styled(line)
    return 1 if any(trial.refusing for trial in trials.values()) else 0


def read_captured(file: Path, api: Api | None) -> Captured:
    """Return the content of ``file``: a recording, a request or a response. Raises ``UnreadableRecording``."""
    if any(file.name.endswith(suffix) for suffix in SUFFIXES):
        with contextlib.suppress(UnreadableRecording):  # another file with such a name
            recorded = read_recording(file)
            return Captured(api or recorded.api, recorded.model or "", recorded.request, recorded.response)
    try:
        body = read_file(file)
    except OSError as error:
        raise UnreadableRecording(f"cannot read {file}: {(error.strerror or 'unreadable').lower()}") from None
    if not body.strip():
        raise UnreadableRecording(f"{file}: empty: give a request, a response or a recording")
    members = _members(body)
    if not members and body.lstrip().startswith(b"{"):
        raise UnreadableRecording(f"{file}: the JSON object is incomplete or invalid; give a request or a response")
    model = members.get("model")
    named = model if isinstance(model, str) else ""
    if found := possible_apis(members):
        return Captured(api or found[0], named, request=body)
    if (detected := api or detect(body)) is None:
        raise UnreadableRecording(f"{file}: cannot detect the API; set it with --api")
    return Captured(detected, named, response=body)


def _members(body: bytes) -> dict[str, object]:
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except NOT_JSON:
        return {}


async def _try_all(config: Config, steps: StepSet, captured: Captured, key: str | None) -> dict[str, TrialSession]:
    """Return the trials of the request and of the response, with the steps open meanwhile."""
    applying = steps_of_request(config, steps, captured.model, None, captured.api, key)
    check = Check("request", (), client=key, model=captured.model or None, api=captured.api, request_id="trial")
    trials: dict[str, TrialSession] = {}
    try:
        async with trio.open_nursery() as nursery:
            await steps.open(nursery)
            try:
                if captured.request is not None:
                    trials["request"] = await try_request(applying, check, captured.api, captured.request)
                if captured.response is not None:
                    choices = read_events(captured.api, captured.response)
                    trials["response"] = await try_response(applying, check, choices)
            finally:
                with trio.CancelScope(shield=True):
                    await steps.aclose()
    except BaseExceptionGroup as group:  # of the nursery
        raise first_error(group) from None
    return trials


def read_events(api: Api, data: bytes) -> list[list[Event]]:
    """Return the events of a complete or streamed response by choice, with all its texts.

    Raises ``GatewayError`` for other data."""
    codec, unread = CODECS[api], UnreadTexts(api)
    if _members(data):
        others = split_other_choices(data, api) if api in MEMBERS else []
        choices = [list(codec.read_answer(body)) for body in (data, *others)]
        return [[*_unread_texts_event(unread, api, data, choices), *choices[0]], *choices[1:]]
    readers, framing = ChoiceReaders(api, codec.reader), framing_of(data)
    found: dict[int, list[Event]] = {0: []}
    for parsed in filter(None, map(framing.parse, events_in(data))):
        by_choice = readers.read_event(*parsed)
        found[0] += _unread_texts_event(unread, api, parsed[1], tuple(by_choice.values()))
        for choice, events in by_choice.items():
            found.setdefault(choice, []).extend(events)
    if not readers:
        raise GatewayError("invalid_request", "neither JSON nor a stream of events; give a request or a response")
    for choice, events in readers.close().items():
        found[choice] += events
    return [found[choice] for choice in sorted(found)]


def _unread_texts_event(unread: UnreadTexts, api: Api, data: bytes, choices: Sequence[Sequence[Event]]) -> list[Event]:
    """Return the texts in a provider's bytes that its events do not have, as one event."""
    texts = unread.find(data, [event for events in choices for event in events])
    return [NativeItem(-1, api, UNREAD, tuple(texts))] if texts else []


def _trial_lines(name: str, trial: TrialSession, *, with_texts: bool) -> Iterator[str]:
    yield f"{name}: {count_text(trial.texts, 'text')}"
    if trial.rows:
        columns = [*[TableColumn("", "name")] * 5, *([TableColumn("")] if with_texts else [])]
        yield from table_lines(columns, [row[: len(columns)] for row in trial.rows], indent="  ")
    yield from trial.failures
    if not trial.rows and not trial.failures:
        yield "  no findings"
    if trial.refusing:
        yield f"The gateway would refuse this {name}, because of {', '.join(trial.refusing)}."
