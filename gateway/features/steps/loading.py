"""Loads the code of steps: built-in kinds, entry points, installed modules, and files relative to the configuration.

Code is imported once in a process. A reload uses it again, and logs that."""

import hashlib
import importlib.util
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NoReturn

import attrs
import trio

from configfile.document import ConfigError, Mistake
from configfile.wording import Wrong, nearest
from gateway.config.settings import Config
from gateway.features.steps.kinds import KINDS, KindContext, KindRow
from gateway.features.steps.loaded import LoadedStep, StepSet, StepState
from gateway.features.steps.mask_key import derived_mask_key
from gateway.features.steps.resources import StepResource, error_place
from gateway.features.steps.setting_checks import CONTENT, StepPlan, contradictions, planned_step
from gateway.features.steps.settings import StepSettings, steps_of
from gateway.features.steps.slots import StepSlots
from trigate.steps import StepOptions, options_of

log = logging.getLogger("trigate.steps")

GROUP: Final = "trigate.steps"
"""The group of entry points that are steps."""

_FILES: Final[dict[str, ModuleType]] = {}
"""The imported files by their path."""


def load_steps(config: Config, before: StepSet | None = None) -> StepSet:
    """Return the steps of ``config``, not opened yet. Unchanged steps of ``before`` keep their state.

    Raises ``ConfigError`` with the faults of all steps."""
    folder = Path(os.path.abspath(config.path)).parent if config.path is not None else Path.cwd()
    ca_path = None if config.ca_path is None else str(config.ca_path)
    loaded: list[LoadedStep] = []
    mistakes: list[Mistake] = []
    for order, settings in enumerate(steps_of(config)):
        try:
            loaded.append(_load_step(settings, order, folder, ca_path, before))
        except StepUnusable as error:
            mistakes += error.mistakes(settings)
    if mistakes:
        raise ConfigError(tuple(mistakes))
    if before is not None and any(one.function is not None and one.settings.is_code for one in loaded):
        log.info("the code of steps was not imported again: restart the gateway to use changed code")
    return StepSet(loaded, derived_mask_key(config.signing_key), before)


async def try_steps(config: Config) -> StepSet:
    """Load, open and close the steps of ``config``, and return them. Raises ``ConfigError``."""
    steps = load_steps(config)
    try:
        async with trio.open_nursery() as nursery:
            await steps.open(nursery)
            await steps.aclose()
    except BaseExceptionGroup:
        if steps.failed is not None:
            raise steps.failed from None
        raise
    return steps


class StepUnusable(Exception):
    """The error for a step that cannot be loaded: each of ``faults`` has a key, the fault, the advice, and a
    suggestion."""

    def __init__(self, *faults: tuple[tuple[str, ...], str, str, str | None]) -> None:
        super().__init__()
        self.faults = faults

    def mistakes(self, settings: StepSettings) -> Iterator[Mistake]:
        """Yield the faults with their positions in the file, which has ``settings``."""
        written = settings.written or Mistake("configuration", "steps", "", "")
        for key, found, advice, suggestion in self.faults:
            path = written.path.removesuffix(".use") + f".{key[0]}" if key else written.path
            yield attrs.evolve(written, path=path, found=found, expected=advice, suggestion=suggestion)


def _stop(found: str, advice: str, suggestion: str | None = None, key: tuple[str, ...] = ()) -> NoReturn:
    raise StepUnusable((key, found, advice, suggestion))


def _load_step(
    settings: StepSettings, order: int, folder: Path, ca_path: str | None, before: StepSet | None
) -> LoadedStep:
    same = before.by_name.get(settings.name) if before is not None else None
    if same is not None and (same.settings, same.settings.secrets) == (settings, settings.secrets):
        return attrs.evolve(same, order=order)
    row = None if settings.is_code else KINDS.get(settings.use)
    target = None if row is not None else _find(settings.use, folder)
    options = StepOptions() if row is not None else options_of(target)
    plan = planned_step(settings, row or options, is_code=row is None)
    if found := tuple(contradictions(settings, plan)):
        raise StepUnusable(*((*words, None) for words in found))
    has_action = settings.action is not None or options.action is not None
    observes = row is None and set(plan.at) == {"finished"} and not has_action
    step = _make_code(target, settings, observes=observes) if row is None else _make_kind(row, settings, ca_path)
    moments = plan.at
    if settings.scope.entries is not None:  # they are known before an attempt, which then waits for the step
        moments = tuple(dict.fromkeys("request" if moment == "during" else moment for moment in moments))
    resource = StepResource(settings.name, step) if _is_context(step) else None
    if resource is None:
        _check_labels(step, plan)
    return LoadedStep(
        settings.name,
        order,
        settings,
        moments,  # type: ignore[arg-type]
        plan.action,  # type: ignore[arg-type]
        plan.hold,  # type: ignore[arg-type]
        frozenset(plan.parts),  # type: ignore[arg-type]
        StepState(StepSlots(settings.concurrent), resource=resource),
        function=None if resource is not None else step,
        is_observer=observes,
        is_inline=row is not None and row.is_inline,
        remembers=options.remember if row is None else row.remembers,
        wants_content=observes and settings.settings.get(CONTENT) is True,
    )


def _is_context(step: Any) -> bool:
    return hasattr(type(step), "__aenter__") and hasattr(type(step), "__aexit__")


def _check_labels(step: Any, plan: StepPlan) -> None:
    """Report labels under ``action`` that a built-in kind never finds."""
    labels = getattr(step, "labels", None)
    if isinstance(plan.action, Mapping) and isinstance(labels, tuple | list | frozenset | set) and labels:
        for label in plan.action:
            if label not in labels:
                advice = f"its labels are {', '.join(sorted(labels))}"
                _stop(f"this step has no label {label!r}", advice, nearest(label, labels), ("action",))


def _make_kind(row: KindRow, settings: StepSettings, ca_path: str | None) -> Any:
    labels = tuple(settings.action) if isinstance(settings.action, Mapping) else ()
    try:
        return row.make_step(settings.kind_settings, KindContext(labels, settings.restore, ca_path))
    except Wrong as wrong:
        _stop(wrong.found, wrong.expected, wrong.suggestion, ("with",))


# Code


def _find(use: str, folder: Path) -> Any:
    """Return the object that ``use`` names."""
    if ":" not in use:
        return _load_entry_point(use)
    place, _, name = use.rpartition(":")
    is_file = "/" in place or place.endswith(".py")
    with _reported_import(place):
        module = _load_file(folder / place) if is_file else _import_installed(place)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            names = [one for one in vars(module) if not one.startswith("_") and callable(getattr(module, one))]
            advice = "use the name of a function or class in it"
            _stop(f"{place} has no function or class {name!r}", advice, nearest(name, names))
        found = getattr(found, part)
    return found


def _load_entry_point(name: str) -> Any:
    found = installed_steps()
    if name not in found:
        known = (*KINDS, *found)
        advice = f"the kinds are {', '.join(known)}; code is package.module:name or ./file.py:name"
        _stop(f"there is no kind of step {name!r}", advice, nearest(name, known))
    if len({one.value for one in found[name]}) > 1:
        _stop(f"several packages have a step {name}", "use package.module:name")
    with _reported_import(name):
        return found[name][0].load()


def installed_steps() -> Mapping[str, tuple[EntryPoint, ...]]:
    """Return the entry points of installed packages by name, without those that have the name of a kind."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for one in entry_points(group=GROUP):
        if one.name not in KINDS:
            found[one.name] = (*found.get(one.name, ()), one)
    return found


@contextmanager
def _reported_import(place: str) -> Iterator[None]:
    """Report any error of an import as a mistake: the code runs while it is imported."""
    try:
        yield
    except (StepUnusable, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: ASYNC103  # no task runs in an import
        text = " ".join(str(error).split())[:200]
        has_place = isinstance(error, ModuleNotFoundError | SyntaxError)  # in its text
        at = type(error).__name__ if has_place else error_place(error)
        _stop(f"importing {place} failed with {at}" + (f": {text}" if text else ""), "correct the code, or the path")


def _import_installed(name: str) -> ModuleType:
    """Return an installed module. The current directory, which ``python -m`` adds, is not searched."""
    here = sys.path[0] if sys.path and sys.path[0] in ("", os.getcwd()) and not sys.flags.safe_path else None
    if here is None:
        return import_module(name)
    sys.path.pop(0)
    try:
        return import_module(name)
    finally:
        sys.path.insert(0, here)


def _load_file(path: Path) -> ModuleType:
    """Return the module of a file, imported at most once."""
    real = os.path.abspath(path)
    if real in _FILES:
        return _FILES[real]
    if not os.path.isfile(real):
        _stop(f"there is no file {real}", "give a path relative to the configuration file")
    name = f"trigate_step_{hashlib.sha256(real.encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, real)
    if spec is None or spec.loader is None:
        _stop(f"{real} is not a Python file", "give a file that ends with .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    _FILES[real] = module
    return module


def _make_code(target: Any, settings: StepSettings, *, observes: bool) -> Any:
    """Return the step of an object: itself, or for a class or a context manager its result with the settings.

    The settings of a step that ``observes`` have one of the gateway."""
    given = {name: value for name, value in settings.settings.items() if not observes or name != CONTENT}
    if observes and not isinstance(settings.settings.get(CONTENT, False), bool):
        _stop("`content` is not true or false", "write `content: true` for records with texts", key=("with",))
    if inspect.isclass(target) or _makes_context(target):
        step = _call_with(target, given, settings.use)
    elif given:
        found = f"{settings.use} is a function, which takes no settings"
        _stop(found, "use a class or an async context manager, which get them", key=("with",))
    else:
        step = target
    if _is_context(step):
        return step
    if not callable(step):
        _stop(f"{settings.use} is not a function", "use a function that takes a Check and returns findings")
    code = step if inspect.isroutine(step) else type(step).__call__
    if any(check(code) for check in (inspect.isgeneratorfunction, inspect.isasyncgenfunction)):
        _stop(f"{settings.use} yields its findings", "return a list of findings")
    if not _accepts(step, 1):
        _stop(f"{settings.use} does not take exactly one argument", "define it with one: the Check")
    annotation = getattr(code, "__annotations__", {}).get("return", list)
    declared = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    if not observes and declared in _NO_LISTS:
        _stop(f"{settings.use} is declared to return {declared}", "return a list of findings")
    return step


_NO_LISTS: Final = frozenset(("None", "NoneType", "bool", "bytes", "dict", "float", "int", "set", "str"))
"""Declared types of results that are never a list of findings."""


def _makes_context(target: Any) -> bool:
    """Return whether ``target`` is a function with the decorator ``asynccontextmanager``."""
    return inspect.isfunction(target) and inspect.isasyncgenfunction(getattr(target, "__wrapped__", None))


def _call_with(target: Callable[..., Any], given: Mapping[str, Any], use: str) -> Any:
    """Return ``target(given)``, or ``target()`` if it takes no settings."""
    takes_none = not _accepts(target, 1)
    if takes_none and given:
        _stop(f"{use} takes no settings", "give it one parameter for them, or remove `with`", key=("with",))
    try:
        return target() if takes_none else target(given)
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        found = f"{use} did not accept its settings: {type(error).__name__}" + (f": {text}" if text else "")
        _stop(found, "correct the settings or the code", key=("with",))


def _accepts(function: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return True
    return True
