"""Routes that requests are matched with, of which nothing is compiled that makes URLs."""

import pytest
from quart_trio import QuartTrio

from gateway.http.response import Response
from gateway.serving.quart_views import MatchedRule, add_view, has_route


async def view(**_: str) -> Response:
    return Response(200, (), b"")


def test_a_rule_matches_and_makes_no_url():
    app = QuartTrio("tested", static_folder=None)
    app.url_rule_class = MatchedRule
    add_view(app, ("/v1/models/<name>", "/models/<path:name>"), "model", view, ["GET"])
    routes = app.url_map.bind("")
    assert routes.match("/v1/models/a") == ("model", {"name": "a"})
    assert routes.match("/models/a/b") == ("model", {"name": "a/b"})
    assert not has_route(app, "/v1/models/a/b")
    with pytest.raises(NotImplementedError, match="no URL is made of /v1/models/<name>"):
        routes.build("model", {"name": "a"})
