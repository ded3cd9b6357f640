"""Requests with images for models that are known not to support them, on real sockets."""

from tests.support.in_process import gateway, providers

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
WITH_IMAGE = [{"role": "user", "content": [IMAGE]}]


async def test_images_for_a_model_without_them_are_refused_before_any_request():
    async with providers(1) as (place,):
        entry = {"base_url": f"{place.url}/v1", "access_key": "k", "speaks": ["chat"]}
        entries = [
            {"model": "vllm/blind", "quirks": {"cannot": ["images"]}, **entry},
            {"model": "vllm/gpt-oss-120b", **entry},  # a server of one's own may have learned to see
        ]
        aliases = {"both": {"targets": ["blind", "gpt-oss-120b"]}}
        content = {"version": "v0.4.0", "model_providers": entries, "model_aliases": aliases}
        async with gateway(content) as running:
            refused = await running.ask("blind", messages=WITH_IMAGE)
            error = refused.json()["error"]
            assert (refused.status_code, error["type"]) == (400, "invalid_request_error")
            assert error["message"].startswith("vllm/blind does not support images, but the request has some")
            assert "quirks: {cannot: []}" in error["message"]
            assert place.asked == []
            assert (await running.ask("blind")).status_code == 200
            assert (await running.ask("gpt-oss-120b", messages=WITH_IMAGE)).status_code == 200
            assert (await running.ask("both", messages=WITH_IMAGE)).status_code == 200
