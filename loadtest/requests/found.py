"""What was found in the files of a plan, told before its load begins; and what of it cannot be sent."""

from collections.abc import Iterator

from configfile.document import ConfigError, Mistake
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.recorded_load import is_recorded, recorded_load, trace_of
from loadtest.plan.scenario import Scenario
from loadtest.requests.request_file import RequestFile, request_file
from providers.apis import CODECS


def found_in_files(plan: Scenario) -> tuple[str, ...]:
    """A sentence for each file. Raises ``ConfigError`` with the lines that cannot be sent."""
    return tuple(_sentences(plan))


def _sentences(plan: Scenario) -> Iterator[str]:
    if plan.trace is not None:
        yield trace_of(plan.trace).described(plan.speed)
    whole = sum(request.weight for request in plan.requests)
    for request in plan.requests:
        if request.requests is None or request.requests == plan.trace:
            continue
        planned = plan.planned * request.weight / whole if plan.open_loop or plan.count else 0.0
        if is_recorded(request.requests):
            recorded = recorded_load(request.requests)
            yield recorded.described() + _rounds(planned, len(recorded.requests))
            continue
        file = request_file(str(request.requests), request.api)
        _check_model(request, file)
        yield file.described() + _rounds(planned, len(file))


def _rounds(planned: float, lines: int) -> str:
    """How often each is sent: what was sent before, a server may have in its cache."""
    often = planned / lines
    return f"; {round(planned):,} are planned, so that each is sent about {often:.3g} times" if often > 1 else ""


def _check_model(request: LoadRequest, file: RequestFile) -> None:
    """Raises ``ConfigError``."""
    named = {f"bodies of {api}" for api, codec in CODECS.items() if codec.wire.model_member is not None}
    nameless = sum(count for form, count in file.forms.items() if form not in named)
    if nameless and not request.model:
        what = f"{nameless:,} of {len(file):,} requests name none" if len(file) > 1 else "the request names none"
        raise ConfigError((Mistake(file.name, "", f"no model: {what}", "give --model MODEL"),))
