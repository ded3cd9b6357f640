"""The row of files, batches and other objects that providers store, and its key in a client."""

from typing import Final

import attrs

from configfile.keys import setting
from gateway.config.clients import ClientKey
from gateway.config.parts import ItemPart
from gateway.seams.feature import Feature, Keys


@attrs.frozen
class FileRights(ItemPart):
    """The keys of a client."""

    foreign_ids: bool = setting(
        "Accept the provider's own ids of [files](files.md#ids), batches and the like, and list everything made with "
        "the provider's key, by anyone.",
        False,
    )


FEATURE: Final = Feature(
    "files",
    "gateway.features.files.opening:open_files",
    first_steps=("upload",),
    keys=(Keys(ClientKey, FileRights),),
)
