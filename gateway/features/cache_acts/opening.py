"""Opens the changes for prompt caches."""

from functools import partial

import attrs

from gateway.config.settings import Config
from gateway.features.cache_acts.acting import PromptCacheActs
from gateway.seams.hooks import Hooks
from gateway.seams.running import Ports, Running


@attrs.frozen(eq=False, repr=False)
class OpenCacheActs(Running):
    """The changes for prompt caches. ``acts`` lasts across configurations of a process."""

    acts: PromptCacheActs
    hooks: Hooks


def open_cache_acts(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the changes for prompt caches, with the state of ``before``."""
    acts = before.acts if isinstance(before, OpenCacheActs) else PromptCacheActs()
    return OpenCacheActs(acts, Hooks(edit_sent=(partial(acts.apply, ports.authenticator.group_of),)))
