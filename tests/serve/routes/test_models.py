"""Listings of models."""

from service_doors import House, in_house


@in_house()
async def test_the_common_listing_has_every_model_with_its_aliases_and_price(house: House) -> None:
    models = {each["id"]: each for each in (await house.client.get("/v1/models")).json()["data"]}
    assert set(models) == {"fake-image", "fake-video"}
    assert models["fake-image"]["aliases"] == ["gpt-image-1", "grok-imagine-image"]
    assert (models["fake-image"]["image_price"], models["fake-video"]["image_price"]) == (200_000_000, None)


@in_house()
async def test_a_model_is_found_by_its_name_and_by_an_alias(house: House) -> None:
    for name in ("fake-image", "gpt-image-1"):
        assert (await house.client.get(f"/v1/models/{name}")).json()["id"] == "fake-image"
    missing = await house.client.get("/v1/models/nothing")
    assert (missing.status_code, missing.json()["error"]["message"]) == (404, "Model not found")


@in_house()
async def test_image_and_video_models_have_listings_of_their_own(house: House) -> None:
    images = (await house.client.get("/v1/image-generation-models")).json()["models"]
    assert [each["id"] for each in images] == ["fake-image"]
    assert images[0]["image_price"] == 2  # cents
    assert images[0]["pricing"][0] == {"quality": "low", "resolution": "1k", "price_per_image": 200_000_000}
    assert images[0]["sizes"]["1k"]["16:9"] == "352x192"
    videos = (await house.client.get("/v1/video-generation-models")).json()["models"]
    assert ([each["id"] for each in videos], videos[0]["image_price"]) == (["fake-video"], None)
    assert (await house.client.get("/v1/video-generation-models/fake-image")).status_code == 404
    assert (await house.client.get("/v1/image-generation-models/fake-image")).json()["id"] == "fake-image"


@in_house()
async def test_a_key_sees_only_the_models_on_its_list(house: House) -> None:
    house.state.keys.update(house.key.id, acls=["api-key:endpoint:*", "api-key:model:sora-*"])
    assert [each["id"] for each in (await house.client.get("/v1/models")).json()["data"]] == ["fake-video"]
    assert (await house.client.get("/v1/models/gpt-image-1")).status_code == 404
