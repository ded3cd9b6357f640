"""Requests for a provider's own diagnosis of a miss of its prompt cache, where an entry wants it (``diagnose``)."""

from gateway.prompt_acts.cache_names import is_refused, with_edit
from gateway.request.prepared import Prepared
from gateway.routing.target import Target
from providers.catalog.prompt_caching import CachingRow
from providers.neutral.draft import Draft


def with_diagnosis(prepared: Prepared, target: Target, row: CachingRow, response_id: str | None) -> Prepared:
    """Return ``prepared`` with a request for a diagnosis, which compares it with the response ``response_id``.

    Some providers require such a request from the first turn on, which has no earlier response (``None``).
    ``prepared`` stays unchanged if the client requests a diagnosis itself, or the provider offers or accepts none."""
    if row.diagnosis_member is None or (response_id is None and not row.diagnoses_from_start):
        return prepared
    member, _, inner = row.diagnosis_member.partition(".")
    draft = Draft.of(prepared.outgoing.body)
    if draft.raw(member) is not None or is_refused(prepared, target, member):
        return prepared
    draft.put(member, {inner: response_id})
    return with_edit(prepared, member, body=draft.encode())
