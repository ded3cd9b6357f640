"""The owner of an id and its account at a provider: read from requests, added to responses."""

import base64

import pytest

from gateway.config_files.loading import from_mapping
from gateway.kept_objects.accounts import Account, accounts_of
from gateway.kept_objects.id_texts import IdPlaces
from gateway.kept_objects.owned_ids import AccountDirectory, OwnerIds, only_account, unknown_id_error
from streams.errors import GatewayError
from tests.support.each_row import each_row

PLACES = IdPlaces(frozenset(("file_id", "file_ids", "vector_store_ids")), frozenset((("id",), ("data", "id"))))
ENTRIES = (
    {"model": "openai/gpt-5", "access_key": "sk-main-account-of-ours"},
    {"model": "openai/gpt-5-mini", "access_key": "sk-main-account-of-ours"},
    {"name": "other", "model": "openai/gpt-5", "access_key": "sk-another-account"},
    {"model": "anthropic/claude-x", "access_key": "sk-ant-of-ours"},
)


def accounts(*entries: dict, keys: tuple[bytes, ...] = (), has_several_owners: bool = True) -> tuple[Account, ...]:
    config = from_mapping({"version": "v0.4.0", "model_providers": list(entries or ENTRIES)})
    return accounts_of(config.entries, keys, has_several_owners=has_several_owners)


def test_entries_of_one_provider_address_and_key_are_one_account():
    found = accounts()
    assert [[entry.name for entry in one.entries] for one in found] == [
        ["openai/gpt-5", "openai/gpt-5-mini"], ["other"], ["anthropic/claude-x"],
    ]  # fmt: skip
    assert [one.is_called("openai") for one in found] == [True, True, False]
    assert [one.is_called("openai/gpt-5-mini") for one in found] == [True, False, False]
    assert [one.is_called("other") for one in found] == [False, True, False]
    assert [one.is_called("Claude") for one in found] == [False, False, False]


def test_an_id_leads_only_its_owner_to_its_account():
    here = accounts()
    ids = OwnerIds(here, "a")
    for account in here:
        text = ids.client_id("file-abc", account)
        found = ids.find(text)
        assert found is not None, account.entry.name
        assert (found.account, found.native) == (account, "file-abc")
        for other in (
            OwnerIds(here, "b"),
            OwnerIds(here, ""),
            OwnerIds(tuple(one for one in here if one != account), "a"),
        ):
            with pytest.raises(GatewayError) as raised:
                other.resolve(text, "file_id")
            assert raised.value.info == unknown_id_error(text, "file_id").info
        with pytest.raises(GatewayError, match="does not exist"):
            ids.resolve("file-abc")


@each_row("capitals", [0, 999, 1000, 1001, 5000])
@each_row("beginning", ["file-", "file_", "files/", "vs_", "cntr_", "container_"])
def test_an_id_is_suspected_after_any_number_of_capitals(beginning: str, capitals: int):
    accounts = AccountDirectory()
    text = b"The T of T_ and file-t. " + b"T" * capitals
    assert not accounts.may_contain_ids(text)
    assert accounts.may_contain_ids(text + b'"%bT' % beginning.encode())


def test_an_id_outlives_a_restart_another_model_and_another_name_of_its_entry():
    text = OwnerIds(accounts(), "a").client_id("file-abc", accounts()[1])
    assert OwnerIds(accounts(*ENTRIES[:1]), "a").find(text) is None  # signed with another key: that account is gone
    renamed = {**ENTRIES[2], "name": "second", "model": "openai/gpt-6"}
    assert OwnerIds(accounts(renamed), "a").find(text) is not None
    assert OwnerIds(accounts(ENTRIES[0], renamed), "a").find(text) is None, "one of two, and its name is gone"


def test_the_signing_key_outlives_the_provider_key_and_can_be_rotated():
    first, second = b"1" * 32, b"2" * 32
    text = OwnerIds(accounts(keys=(first,)), "a").client_id("file-abc", accounts(keys=(first,))[1])
    changed = {**ENTRIES[2], "access_key": "sk-a-new-one-for-it"}
    assert OwnerIds(accounts(changed, keys=(second, first)), "a").find(text) is not None
    assert OwnerIds(accounts(changed, keys=(second,)), "a").find(text) is None


def test_without_any_secret_nothing_is_signed_unless_there_is_one_owner():
    server = {"model": "local/m", "base_url": "http://localhost:9/v1"}
    (account,) = accounts(server)
    with pytest.raises(GatewayError, match="signing_key"):
        OwnerIds((account,), "a").client_id("file-abc", account)
    (account,) = accounts(server, has_several_owners=False)
    assert OwnerIds((account,), "").find(OwnerIds((account,), "").client_id("file-abc", account)) is not None


def test_a_body_is_read_and_an_answer_is_shown_with_every_other_byte_kept():
    here = accounts()
    ids = OwnerIds(here, "a")
    one, two = ids.client_id("file-1", here[0]), ids.client_id("vs_2", here[0])
    read = ids.find_all(f'{{"x": 1.0, "file_id" : "{one}", "vector_store_ids":["{two}"]}}'.encode(), PLACES)
    assert read.account == here[0]
    assert read.with_native_ids() == b'{"x": 1.0, "file_id" : "file-1", "vector_store_ids":["vs_2"]}'
    answer = ids.with_client_ids(b'{ "id":"file-1","data":[{"id":"vs_2","n":1e2}], "text":"file-1"}', PLACES, here[0])
    assert answer == f'{{ "id":"{one}","data":[{{"id":"{two}","n":1e2}}], "text":"file-1"}}'.encode()


def test_ids_of_two_providers_in_one_request_are_refused():
    here = accounts()
    ids = OwnerIds(here, "a")
    found = [ids.find(ids.client_id("file-1", one)) for one in (here[0], here[2])]
    with pytest.raises(GatewayError, match="is stored at openai/gpt-5 and") as raised:
        only_account([one for one in found if one])
    assert raised.value.info.status == 400
    assert only_account([]) is None


def test_one_owner_and_one_account_keep_the_ids_of_the_provider():
    (account, *_) = here = accounts(ENTRIES[0], has_several_owners=False)
    ids = OwnerIds(here, "", are_native=True)
    assert ids.resolve("file-abc") is None
    assert ids.client_id("file-abc", account) == "file-abc"
    assert ids.with_client_ids(b'{"id":"file-1"}', PLACES, account) == b'{"id":"file-1"}'
    assert ids.find_all(b'{"file_id":"file-1"}', PLACES).found == ()
    tagged_id = OwnerIds(here, "").client_id("file-abc", account)
    found = ids.resolve(tagged_id)
    assert found.native == "file-abc"


def test_signing_keys_are_read_from_the_file():
    key = base64.b64encode(b"k" * 32).decode()
    config = from_mapping(
        {
            "version": "v0.4.0",
            "model_providers": [ENTRIES[0]],
            "signing_key": [key],
            "public_url": "https://llm.example",
        }
    )
    assert config.signing_key == (b"k" * 32,)
    assert config.public_url == "https://llm.example"
