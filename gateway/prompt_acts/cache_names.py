"""Names of caches at a provider: keys by which it routes requests to a cache, and values that separate clients' caches.

Both are digests with a secret of the entry, equal in all processes and after a restart, so that they cost no cache."""

import hashlib
from typing import Final

import attrs

from gateway.balancing.affinity import AUTO, find_affinity
from gateway.config.entry_prompt_cache import EntryPromptCache, RoutingKey
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.routing.target import Target
from providers.catalog.prompt_caching import CachingRow
from providers.errors.rejected import parse_path
from providers.neutral.draft import Draft
from providers.neutral.edits import Edit

HEADER: Final = "header:"
"""The prefix of a row's ``key_member`` that is a header."""


@attrs.frozen(repr=False)
class PromptSender:
    """The sender of a prompt: its client and group, and the request as it arrived."""

    client: str
    group: str | None
    headers: Headers
    incoming: Incoming


async def with_cache_names(
    prepared: Prepared, target: Target, row: CachingRow, wanted: EntryPromptCache, sender: PromptSender
) -> Prepared:
    """Return ``prepared`` with the names of caches that ``wanted`` has and the provider's ``row`` knows."""
    secret = hashlib.blake2b((target.entry.key or target.entry.name).encode(errors="surrogatepass")).digest()
    if wanted.isolate is not None and row.takes_salt is not None:
        owner = sender.group if wanted.isolate == "group" and sender.group is not None else f"key {sender.client}"
        return await offload(prepared.size, _with_salt, prepared, row.takes_salt, owner, secret)
    if wanted.key is None or row.key_member is None or row.key_separates:
        return prepared
    if is_refused(prepared, target, row.key_member):
        return prepared
    if await offload(prepared.size, _is_present, prepared, row.key_member, sender.headers):
        return prepared
    name = await _name_of(wanted.key, sender)
    if name is None:
        return prepared
    return await offload(prepared.size, _with_key, prepared, row.key_member, _digest(secret, name))


async def _name_of(wanted: RoutingKey, sender: PromptSender) -> bytes | None:
    """Return the name of the conversation or client, ``None`` for a request without a conversation."""
    if wanted == "client":
        return sender.client.encode(errors="surrogatepass")
    affinity = await find_affinity(AUTO, sender.client, sender.headers, sender.incoming)
    return None if affinity is None else affinity.key


def _with_salt(prepared: Prepared, member: str, owner: str, secret: bytes) -> Prepared:
    """Return ``prepared`` with the name of its owner's cache, which includes the client's own value.

    Without that, clients that know each other's values would share a cache."""
    draft = Draft.of(prepared.outgoing.body)
    own = draft.raw(member)
    parts = (owner.encode(errors="surrogatepass"), b"" if own is None else bytes(own))
    draft.put(member, _digest(secret, b"\0".join(parts)))
    return with_edit(prepared, member, body=draft.encode())


def _with_key(prepared: Prepared, member: str, key: str) -> Prepared:
    if member.startswith(HEADER):
        name = member.removeprefix(HEADER)
        return with_edit(prepared, name, headers=(*prepared.outgoing.headers, (name, key)))
    draft = Draft.of(prepared.outgoing.body)
    draft.put(member, key)
    return with_edit(prepared, member, body=draft.encode())


def with_edit(prepared: Prepared, name: str, body: bytes | None = None, headers: Headers | None = None) -> Prepared:
    """Return ``prepared`` with another body or other headers, and the edit of the member or header ``name``."""
    outgoing = prepared.outgoing
    outgoing = attrs.evolve(
        outgoing,
        body=outgoing.body if body is None else body,
        headers=outgoing.headers if headers is None else headers,
        edits=(*outgoing.edits, Edit(name, lost=False, form="+", why="operator")),
    )
    return attrs.evolve(prepared, outgoing=outgoing)


def _is_present(prepared: Prepared, member: str, headers: Headers) -> bool:
    """Return whether the client has sent its own cache key in ``member``, which may be a header."""
    if member.startswith(HEADER):
        name = member.removeprefix(HEADER)
        return any(one == name for one, _ in (*headers, *prepared.outgoing.headers))
    raw = Draft.of(prepared.outgoing.body).raw(member)
    return raw is not None and bytes(raw) != b"null"


def is_refused(prepared: Prepared, target: Target, member: str) -> bool:
    """Return whether the provider is known to refuse the member, or has refused it."""
    known = map(parse_path, target.recipient.quirks.refused_fields)
    return (member,) in (*known, *prepared.omissions.paths)


def _digest(secret: bytes, name: bytes) -> str:
    return hashlib.blake2b(name, digest_size=16, key=secret).hexdigest()
