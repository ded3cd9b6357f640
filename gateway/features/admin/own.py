"""``GET /me``: the caller's name, group, role, models, limits and budgets."""

import math
from functools import partial

from configfile.wording import time_text
from gateway.features.admin.calls import AdminAnswer, AdminCall, in_thread
from gateway.features.admin.levels import level_rows
from gateway.viewing.listed_models import list_models


async def show_caller(call: AdminCall) -> AdminAnswer:
    caller, service = call.caller, call.service
    applying = shown = service.allowances.of_client(caller.name)
    is_alone = not call.config.has_several_clients and call.config.stored_clients == "off"
    if not is_alone and caller.role not in ("admin", "auditor"):
        shown = service.allowances.visible_to(caller.name)
    levels = await level_rows(shown, service.allowances, [one for one in applying if one not in shown])
    people = service.authenticator.unlisted
    sent = None if people is None or caller.name is None else people.sent_rights(caller.name)
    end = call.now + call.service.authenticator.seconds_left(call.incoming.headers) if sent is None else sent.expiry
    return AdminAnswer(
        {
            "name": caller.name,
            "group": caller.group,
            "role": caller.role,
            "credential": caller.credential,
            "models": [] if caller.credential == "operator" else await in_thread(partial(_models, call)),
            "own_keys": None,
            "ends": None if math.isinf(end) else time_text(end),
            "shared_limits": caller.name is not None and bool(service.allowances.of_client(None)),
            **levels,
            **{name: value for part in call.parts for name, value in part.describe_caller(call).items()},
        }
    )


def _models(call: AdminCall) -> list[str]:
    authenticator, client = call.service.authenticator, call.caller.name
    listed = [model.id for model in list_models(call.service.router) if authenticator.can_use(client, model.id)]
    wild = [entry.name for entry in call.config.entries if entry.wildcard and authenticator.reaches(client, entry)]
    return list(dict.fromkeys((*listed, *wild)))
