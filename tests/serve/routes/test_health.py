"""Health, readiness, counters and the API's own document."""

from service_doors import House, in_house


@in_house()
async def test_health_and_the_document_need_no_key(house: House) -> None:
    async with house.client_with(None) as anybody:
        assert (await anybody.get("/health")).json()["status"] == "ok"
        ready = await anybody.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        document = (await anybody.get("/openapi.json")).json()
    assert {"/v1/images/generations", "/v1/videos", "/v1/batches/{batch_id}:cancel"} <= document["paths"].keys()


@in_house()
async def test_a_stopping_server_is_not_ready_and_takes_no_order(house: House) -> None:
    house.service.draining = True
    ready = await house.client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
    assert (await house.client.post("/v1/images/generations", json={"prompt": "a cat"})).status_code == 503


@in_house()
async def test_counters_are_for_the_owner_and_for_whose_list_names_them(house: House) -> None:
    assert (await house.client.get("/metrics")).status_code == 403
    async with house.client_with(None) as anybody:
        assert (await anybody.get("/metrics")).status_code == 401
    async with house.client_with(house.state.keys.ensure_owner().secret) as owner:
        assert (await owner.get("/metrics")).status_code == 200


@in_house()
async def test_counters_name_routes_and_not_ids(house: House) -> None:
    house.state.keys.update(house.key.id, acls=[*house.key.acls, "api-key:endpoint:metrics"])
    await house.client.post("/v1/images/generations", json={"prompt": "a cat", "n": 2, "model": "gpt-image-1"})
    await house.client.get("/v1/files/file-unknown")
    text = (await house.client.get("/metrics")).text
    assert 'polarlight_requests_total{method="POST",route="/v1/images/generations",status="200"} 1.0' in text
    assert 'route="/v1/files/{file_id}",status="404"' in text
    assert 'polarlight_pictures_total{model="gpt-image-1"} 2.0' in text
    assert 'polarlight_charged_ticks_total{model="gpt-image-1"} 4e+08' in text
    assert 'polarlight_jobs_total{kind="image",outcome="done"} 1.0' in text
    assert "file-unknown" not in text
