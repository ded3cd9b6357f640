"""Keys in subprotocols, as browsers send them (BerriAI/litellm#36151, api7/aisix#721, langwatch/langwatch#7066)."""

from gateway.realtime.subprotocols import BETA, Offered, upstream_protocols, with_key

OFFER = "realtime, openai-insecure-api-key.sk-ours-1, openai-organization.org-1, openai-beta.realtime-v1"


def test_the_key_goes_where_it_belongs_and_is_in_no_protocol():
    headers = (("host", "h"), ("sec-websocket-protocol", OFFER))
    offered = Offered.in_headers(headers)
    assert offered.keys == ("sk-ours-1",)
    assert "sk-ours-1" not in repr(offered)
    assert with_key(headers, offered) == (
        ("host", "h"),
        ("sec-websocket-protocol", f"realtime, {BETA}"),
        ("authorization", "Bearer sk-ours-1"),
    )
    assert offered.chosen == "realtime"


def test_the_provider_is_offered_what_it_heeds():
    offered = Offered.in_headers((("sec-websocket-protocol", OFFER), ("sec-websocket-protocol", "other")))
    assert upstream_protocols(offered, beta=False) == ("realtime",)
    assert upstream_protocols(offered, beta=True) == ("realtime", BETA)


def test_programs_offer_nothing():
    offered = Offered.in_headers((("authorization", "Bearer k"),))
    assert offered == Offered()
    assert offered.chosen is None
    assert upstream_protocols(offered, beta=True) == ()
    assert with_key((("authorization", "Bearer k"),), offered) == (("authorization", "Bearer k"),)
