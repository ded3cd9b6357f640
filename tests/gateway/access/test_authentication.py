"""Access: keys, the models that a key may use, and the web pages that may send requests."""

import contextlib
import hashlib
import math
from datetime import UTC, date, datetime, timedelta

import pytest

from gateway.access.authentication import Authenticator
from gateway.config_files.loading import Config, ConfigError, from_mapping, load
from gateway.config_reports.doubtful_clients import expiring_keys
from gateway.request.client_request import ClientRequest
from gateway.routing.router import Router
from gateway.viewing.listed_models import list_models
from streams.errors import GatewayError
from tests.support.each_row import each_row

ALICE, BOB = "sk-gw-alice-0123456789", "sk-gw-bob-0123456789"
PROVIDERS = [
    {"model": "openai/gpt-4o", "access_key": "k"},
    {"model": "openai/gpt-4o-mini", "access_key": "k"},
    {"model": "groq/*", "access_key": "k"},
    {"model": "openai/gpt-5", "name": "own", "passthrough_auth": True},
]


def config(*keys: dict, **more) -> Config:
    return from_mapping(
        {
            "version": "v0.3.0",
            "model_providers": PROVIDERS,
            "model_aliases": {"fast": {"target": "gpt-4o-mini"}},
            **({"client_keys": list(keys)} if keys else {}),
            **more,
        }
    )


KEYED = Authenticator(
    config({"name": "alice", "key": ALICE}, {"name": "bob", "sha256": hashlib.sha256(BOB.encode()).hexdigest().upper()})
)


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def refusal(authenticator: Authenticator, *headers: tuple[str, str]) -> str:
    with pytest.raises(GatewayError) as caught:
        authenticator.authenticate(headers)
    failed = caught.value.info
    assert (failed.kind, failed.status) == ("authentication", 401)
    assert ("x-should-retry", "false") in failed.headers
    for _, value in headers:
        assert not (key := value.removeprefix("Bearer ").strip()) or key not in failed.message
    return failed.message


# Several keys of one client, and keys with an end


OLD, NEW = "sk-gw-carol-old-0123456789", "sk-gw-carol-new-0123456789"
END = datetime(2040, 2, 1, tzinfo=UTC)


def client_of(authenticator: Authenticator, key: str) -> str | None:
    return authenticator.authenticate([("authorization", f"Bearer {key}")])


def at(moment: datetime, *keys: dict) -> Authenticator:
    return Authenticator(config(*keys), moment.timestamp)


def test_every_key_of_a_client_opens_what_is_the_clients():
    door = Authenticator(
        config({"name": "carol", "keys": [{"key": OLD}, {"sha256": digest(NEW)}], "models": ["gpt-4o"]})
    )
    assert [client_of(door, key) for key in (OLD, NEW)] == ["carol", "carol"]
    assert not door.can_use("carol", "gpt-4o-mini")


@each_row(
    "keys",
    [
        {"keys": [{"key": OLD, "until": "2040-01-31"}, {"key": NEW}]},
        {"keys": [{"key": OLD, "until": date(2040, 1, 31)}, {"key": NEW}]},
        {"keys": [{"key": OLD, "until": "2040-02-01T00:00:00Z"}, {"key": NEW}]},
        {"keys": [{"key": OLD, "until": "2040-02-01 02:00:00+02:00"}, {"key": NEW, "until": "2041-01-01"}]},
    ],
    ids=["a date as text", "a date", "a time", "a time elsewhere"],
)
def test_a_key_is_good_to_its_end_and_the_other_one_beyond(keys):
    client = {"name": "carol", **keys}
    assert client_of(at(END - timedelta(seconds=1), client), OLD) == "carol"
    over = at(END, client)
    assert "expired on 2040-02-01T00:00:00Z" in refusal(over, ("x-api-key", OLD))
    assert client_of(over, NEW) == "carol"


@each_row("until", ["9999-12-31", date.max, "9999-12-31T23:59:59Z"])
def test_a_key_may_last_until_the_last_date(until):
    """Other programs write it for keys that never expire."""
    client = {"name": "carol", "keys": [{"key": OLD, "until": until}, {"key": NEW, "until": "2040-01-31"}]}
    assert client_of(at(END, client), OLD) == "carol"


def test_the_end_of_a_client_is_that_of_each_of_its_keys():
    client = {"name": "carol", "until": "2040-01-31", "keys": [{"key": OLD}, {"key": NEW, "until": "2041-01-01"}]}
    for key in (OLD, NEW):
        assert "expired on" in refusal(at(END, client), ("x-api-key", key))


def test_seconds_left_returns_the_remaining_time_of_a_key():
    door = at(
        END - timedelta(minutes=1), {"name": "carol", "keys": [{"key": OLD, "until": "2040-01-31"}, {"key": NEW}]}
    )
    assert door.seconds_left([("x-api-key", OLD)]) == 60
    assert door.seconds_left([("authorization", f"Bearer {NEW}")]) == math.inf
    assert Authenticator(config()).seconds_left([("x-api-key", OLD)]) == math.inf


def test_no_provider_gets_an_expired_key_of_this_gateway():
    over = at(END, {"name": "carol", "keys": [{"key": OLD, "until": "2040-01-31"}, {"key": NEW}]})
    own = next(entry for entry in config().entries if entry.passthrough_auth)
    with pytest.raises(GatewayError, match="x-trigate-key"):
        over.check_credential(own, OLD)


@each_row(
    ("model", "base_url", "credential", "is_refused"),
    [
        ("anthropic/*", None, "eyJhbGciOi.x.y", True),
        ("anthropic/*", None, "sk-proj-1", True),
        ("anthropic/*", None, "sk-ant-oat01-1", False),
        ("anthropic/*", "https://api.anthropic.com/v1", "eyJhbGciOi.x.y", True),
        ("anthropic/*", "http://localhost:9", "eyJhbGciOi.x.y", False),
        ("chatgpt/*", None, "sk-ant-oat01-1", True),
        ("chatgpt/*", None, "eyJhbGciOi.x.y", False),
        ("openai/*", None, "sk-ant-api03-1", True),
        ("openai/*", None, "sk-1", False),
        ("groq/*", None, "sk-ant-api03-1", False),
    ],
)
def test_a_provider_gets_no_login_of_another(model, base_url, credential, is_refused):
    entry = {"model": model, "passthrough_auth": True, **({"base_url": base_url} if base_url else {})}
    (entry,) = from_mapping({"version": "v0.4.0", "model_providers": [entry]}).entries
    door = Authenticator(config())
    assert door.lacks_credential(entry, credential) is is_refused
    with pytest.raises(GatewayError, match="another provider's") if is_refused else contextlib.nullcontext():
        door.check_credential(entry, credential)


def test_ends_that_are_near_or_over_are_warnings():
    now = datetime.now(UTC)
    ends = {"gone": now - timedelta(hours=1), "near": now + timedelta(days=3, hours=1), "far": now + timedelta(days=15)}
    keys = [{"name": name, "key": f"{name}-{OLD}", "until": end} for name, end in ends.items()]
    gone, near = expiring_keys(config(*keys))
    assert gone.startswith("client_keys: gone expired on")
    assert near.startswith("client_keys: near expires on")
    assert "in 3 days" in near


# Keys


@each_row(
    "headers",
    [
        [("authorization", f"Bearer {ALICE}")],
        [("authorization", f"bearer  {ALICE} ")],
        [("x-api-key", ALICE)],
        [("authorization", f"Bearer {ALICE}"), ("x-api-key", ALICE)],
        [("authorization", "Basic dXNlcjpwYXNz"), ("x-api-key", ALICE)],
        [("authorization", f"Bearer {ALICE}"), ("x-api-key", "")],
        [("x-trigate-key", ALICE)],
        [("x-trigate-key", ALICE), ("authorization", "Bearer sk-provider"), ("x-api-key", "sk-other")],
    ],
)
def test_a_key_is_read_from_where_sdks_put_it(headers):
    assert KEYED.authenticate(tuple(headers)) == "alice"


def test_a_key_configured_by_its_digest_authenticates():
    assert KEYED.authenticate((("x-api-key", BOB),)) == "bob"


WRONG = (ALICE[:-1], ALICE + "0", ALICE.upper(), "\xff\xfe", hashlib.sha256(BOB.encode()).hexdigest())
BEARER = ("authorization", f"Bearer {ALICE}")


@each_row(
    ("words", "headers"),
    [
        ("requires a key", ()),
        ("requires a key", (("authorization", f"Basic {ALICE}"),)),
        ("requires a key", (("x-api-key", " "),)),
        *(("unknown key", (("x-api-key", wrong),)) for wrong in WRONG),
        *(("unknown key", (("authorization", f"Bearer {wrong}"),)) for wrong in WRONG),
        ("different", (BEARER, ("x-api-key", BOB))),
        ("different", (("x-api-key", ALICE), ("x-api-key", "other"))),
        ("different", (("x-trigate-key", ALICE), ("x-trigate-key", "other"))),
        ("unknown key", (("x-trigate-key", "wrong"), BEARER)),
        ("unknown key", (("x-trigate-key", ""), BEARER)),
    ],
)
def test_no_key_a_wrong_one_and_two_are_refused_and_not_repeated(words, headers):
    assert words in refusal(KEYED, *headers)


@pytest.mark.parametrize("name", ["metrics_key", "ui_key"])
def test_the_operators_key_in_place_of_a_clients_is_recognized(name):
    keyed = Authenticator(config({"name": "alice", "key": ALICE}, **{name: BOB}))
    assert "send a client's key" in refusal(keyed, ("x-api-key", BOB))
    assert "unknown key" in refusal(keyed, ("x-api-key", BOB + "0"))


def test_an_aws_signature_is_no_key_and_the_refusal_has_advice():
    signed = ("authorization", f"AWS4-HMAC-SHA256 Credential={ALICE}/20261122/us-east-1/bedrock/aws4_request, ...")
    told = refusal(KEYED, signed)
    assert "AWS_BEARER_TOKEN_BEDROCK" in told
    assert "x-trigate-key" in told
    assert KEYED.authenticate((signed, ("x-trigate-key", ALICE))) == "alice"


def test_without_client_keys_everyone_is_admitted():
    assert Authenticator(config()).authenticate(()) is None
    assert Authenticator(config()).authenticate((("x-api-key", "anything"),)) is None


def test_the_digest_does_not_show_in_a_printed_config():
    shown = repr(config({"name": "alice", "key": ALICE}))
    assert "alice" in shown
    assert ALICE not in shown
    assert repr(hashlib.sha256(ALICE.encode()).digest()) not in shown


# Models


def may(models: list[str], asked: str) -> bool:
    settings = config({"name": "alice", "key": ALICE, "models": models})
    target = Router(settings).resolve(asked, "chat")
    authenticator = Authenticator(settings)
    if authenticator.allows("alice", target.requested_name, target.entry, target.model):
        authenticator.check("alice", target.requested_name, target.entry, target.model, None)
        return True
    with pytest.raises(GatewayError) as caught:
        authenticator.check("alice", target.requested_name, target.entry, target.model, None)
    failed = caught.value.info
    assert (failed.kind, failed.status, failed.param) == ("permission", 403, "model")
    return False


@each_row(
    ("models", "good", "bad"),
    [
        (["gpt-4o"], ["gpt-4o", "openai/gpt-4o"], ["gpt-4o-mini", "fast", "own", "groq/llama-3.3-70b-versatile"]),
        (["openai/gpt-4o-mini"], ["gpt-4o-mini", "fast"], ["gpt-4o"]),
        (["fast"], ["fast", "fast[1m]"], ["gpt-4o-mini", "openai/gpt-4o-mini", "gpt-4o-mini[1m]"]),
        (["groq/*"], ["groq/llama-3.3-70b-versatile", "groq/anything"], ["gpt-4o", "own"]),
        (["groq/one"], ["groq/one"], ["groq/two", "groq/one/more"]),
        (["own"], ["own", "gpt-5"], ["gpt-4o"]),
    ],
)
def test_a_list_of_models_allows_these_and_no_others(models, good, bad):
    assert [asked for asked in good if not may(models, asked)] == []
    assert [asked for asked in bad if may(models, asked)] == []


def test_a_name_that_ends_in_a_mark_is_another_one_than_that_without_it():
    aliases = {"fast": {"target": "gpt-4o-mini"}, "fast[1m]": {"target": "gpt-4o"}}
    settings = config({"name": "alice", "key": ALICE, "models": ["fast"]}, model_aliases=aliases)
    assert Authenticator(settings).can_use("alice", "fast")
    assert not Authenticator(settings).can_use("alice", "fast[1m]")


def test_the_models_that_are_listed_for_a_key_are_those_that_it_may_use():
    settings = config({"name": "alice", "key": ALICE, "models": ["fast", "gpt-4o"]}, {"name": "bob", "key": BOB})
    names = [model.id for model in list_models(Router(settings))]
    assert Authenticator(settings).allowed_models("alice", names) == {"fast", "openai/gpt-4o"}
    assert Authenticator(settings).allowed_models("bob", names) == set(names)
    assert Authenticator(config()).allowed_models(None, names) == set(names)


# The key and the provider


@pytest.mark.parametrize(
    "headers", [[("authorization", f"Bearer {ALICE}")], [("x-api-key", BOB)], [("authorization", f"bearer  {BOB} ")]]
)
def test_a_gateway_key_is_never_passed_on_as_a_providers(headers):
    asked = ClientRequest((*headers, ("x-trigate-key", ALICE)), "", "alice")
    target = Router(config()).resolve("own", "chat")
    with pytest.raises(GatewayError) as caught:
        KEYED.check("alice", "own", target.entry, target.model, asked.credential)
    assert caught.value.info.status == 401
    assert "x-trigate-key" in caught.value.info.message


def test_a_providers_key_is_passed_on():
    asked = ClientRequest((("authorization", "Bearer sk-mine"), ("x-trigate-key", ALICE)), "", "alice")
    target = Router(config()).resolve("own", "chat")
    KEYED.check("alice", "own", target.entry, target.model, asked.credential)
    assert target.headers(asked.credential) == (("authorization", "Bearer sk-mine"),)


# The configuration


def mistakes(**root) -> str:
    with pytest.raises(ConfigError) as caught:
        from_mapping({"version": "v0.3.0", "model_providers": PROVIDERS, **root})
    assert "sk-secret" not in str(caught.value)
    return str(caught.value)


@each_row(
    ("keys", "words"),
    [
        ([], "the list is empty"),
        ([None], "this item is empty"),
        ([{"key": "sk-secret"}], "client_keys[0].name: missing"),
        ([{"name": "", "key": "sk-secret"}], "the name is empty"),
        ([{"name": "a"}], "neither key nor sha256"),
        ([{"name": "a", "key": ""}], "the key is empty"),
        ([{"name": "a", "key": "sk-secret", "sha256": "0" * 64}], "key and sha256"),
        ([{"name": "a", "sha256": "sk-secret"}], "64 hexadecimal digits"),
        ([{"name": "a", "key": "sk-secret\nx"}], "one line of printable ASCII"),
        ([{"name": "a", "key": "sk-secret"}, {"name": "a", "key": "x"}], "another client has the name a"),
        ([{"name": "a", "key": "sk-secret"}, {"name": "b", "key": "sk-secret"}], "client a has the same key"),
        ([{"name": "a", "key": "sk-secret"}, {"name": "b", "keys": [{"key": "sk-secret"}]}], "client a has the same"),
        ([{"name": "a", "keys": [{"key": "sk-secret"}, {"sha256": digest("sk-secret")}]}], "client a has the same key"),
        ([{"name": "a", "keys": []}], "client_keys[0].keys: the list is empty"),
        ([{"name": "a", "key": "sk-secret", "keys": [{"key": NEW}]}], "it cannot be combined with key or sha256"),
        ([{"name": "a", "keys": [{"until": "2040-01-31"}]}], "client_keys[0].keys[0]: neither key nor sha256"),
        ([{"name": "a", "keys": ["sk-secret"]}], "client_keys[0].keys[0]: text"),
        ([{"name": "a", "keys": [12345678901234567890]}], "client_keys[0].keys[0]: a number"),
        ([{"name": "a", "keys": [True]}], "client_keys[0].keys[0]: true"),
        ([{"name": "a", "key": "sk-secret", "until": "soon"}], "client_keys[0].until: 'soon'; expected a date such as"),
        ([{"name": "a", "key": "sk-secret", "until": "2040-02-30"}], "client_keys[0].until"),
        ([{"name": "a", "key": "sk-secret", "until": "9999-12-31T23:59:59-05:00"}], "client_keys[0].until"),
        ([{"name": "a", "key": "sk-secret", "models": ["gpt-9"]}], "models[0]: 'gpt-9' is not a configured model"),
        ([{"name": "a", "key": "sk-secret", "models": [""]}], "'' is not a configured model"),
        ([{"name": "a", "key": "sk-secret", "modles": []}], "did you mean models?"),
        ("sk-secret", "expected a list"),
        (["sk-secret"], "expected a mapping"),
    ],
)  # fmt: skip
def test_a_mistake_in_client_keys_is_named_and_the_key_is_not(keys, words):
    assert words in mistakes(client_keys=keys)


@each_row("origin", ["app.example", "https://app.example/", "https://", "*.example", "null", ""])
def test_an_invalid_cors_origin_is_a_mistake(origin):
    assert "expected an origin" in mistakes(cors=[origin])


def test_a_bad_policy_for_disconnects_is_a_mistake():
    text = mistakes(llm_providers=None, model_providers=[{**PROVIDERS[0], "on_disconnect": "finnish"}])
    assert "did you mean finish?" in text


def test_keys_come_from_the_environment(tmp_path):
    path = tmp_path / "trigate.yaml"
    path.write_text(
        "version: v0.3.0\nmodel_providers: [{model: openai/gpt-4o, access_key: k, on_disconnect: finish}]\n"
        "client_keys: [{name: a, key: $A, models: [gpt-4o]}, {name: b, sha256: $B}]\n"
    )
    read = load(path, {"A": f"{ALICE}\n", "B": hashlib.sha256(BOB.encode()).hexdigest()})
    assert Authenticator(read).authenticate((("x-api-key", ALICE),)) == "a"
    assert Authenticator(read).authenticate((("x-api-key", BOB),)) == "b"
    assert read.entries[0].on_disconnect == "finish"
    assert [key.name for key in load(path, None).client_keys] == ["a", "b"]
    with pytest.raises(ConfigError, match="the environment variable B is not set"):
        load(path, {"A": ALICE})


# Routes

ROUTES = {"best": {"targets": ["gpt-4o", "groq/llama"]}}


def may_use(models: list[str], asked: str) -> bool:
    settings = config({"name": "alice", "key": ALICE, "models": models}, model_aliases=ROUTES)
    authenticator, plan = Authenticator(settings), Router(settings).plan(asked, "chat")
    allowed = [authenticator.allows("alice", one.requested_name, one.entry, one.model) for one in plan.targets]
    assert all(allowed) == authenticator.can_use("alice", asked)
    return all(allowed)


def test_a_key_that_may_use_a_route_may_not_name_its_targets():
    # A key locked to one model got another's answer by way of the fallbacks: BerriAI/litellm#39998.
    assert may_use(["best"], "best")
    for target in ("gpt-4o", "openai/gpt-4o", "groq/llama"):
        assert not may_use(["best"], target)
    assert may_use(["best", "gpt-4o"], "gpt-4o")


def test_a_key_that_may_name_some_targets_may_not_use_the_route():
    assert not may_use(["gpt-4o"], "best")
    assert may_use(["gpt-4o", "groq/*"], "best")


# Groups


def with_group(group: dict, **own) -> Authenticator:
    key = {"name": "alice", "key": ALICE, "group": "team", **own}
    return Authenticator(config(key, model_aliases=ROUTES, client_groups=[{"name": "team", **group}]))


@each_row(
    ("group", "own", "usable"),
    [
        ({}, {}, {"best", "openai/gpt-4o", "openai/gpt-4o-mini"}),
        ({"models": ["best"]}, {}, {"best"}),
        ({"models": ["best", "gpt-4o"]}, {"models": ["gpt-4o", "gpt-4o-mini"]}, {"openai/gpt-4o"}),
        ({"models": ["best"]}, {"models": ["gpt-4o"]}, set()),
        ({"only": ["openai/*"]}, {}, {"best", "openai/gpt-4o", "openai/gpt-4o-mini"}),
        ({"only": ["groq/*", "openai/gpt-4o"]}, {"only": ["openai/*"]}, {"best", "openai/gpt-4o"}),
        ({"only": ["own"]}, {}, set()),
    ],
)
def test_restrictions_of_a_group_apply_in_addition_to_the_keys(group, own, usable):
    authenticator = with_group(group, **own)
    assert authenticator.allowed_models("alice", ("best", "openai/gpt-4o", "openai/gpt-4o-mini")) == usable
    assert authenticator.is_limited("alice") == ("models" in {**group, **own})


def test_the_wall_of_a_client_is_inside_of_its_groups():
    assert with_group({}).wall("alice") is None
    assert with_group({"only": ["openai/*"]}).wall("alice") == {"openai/gpt-4o", "openai/gpt-4o-mini"}
    assert with_group({"only": ["openai/*"]}, only=["*/gpt-4o"]).wall("alice") == {"openai/gpt-4o"}
