"""The key ``prompt_cache`` of an entry: changes of requests for the provider's prompt cache."""

from typing import Literal, TypeAlias

import attrs

from configfile.keys import setting

MarkLifetime: TypeAlias = Literal["5m", "1h"]


@attrs.frozen
class EntryPromptCache:
    """Changes of requests for an entry's prompt cache; none by default."""

    marks: MarkLifetime | None = setting(
        "Add cache marks to requests that have none, with this lifetime, where the provider caches only marked "
        "prompts (Anthropic's models). They follow the tools, the instructions and the user's last message. An "
        "earlier message that is far away gets one, too.",
        None,
        shown="none",
    )

    @property
    def acts(self) -> bool:
        """Whether the gateway changes requests for the entry's prompt cache."""
        return self.marks is not None
