"""What a key is told of itself."""

from service_doors import House, in_house


@in_house()
async def test_a_key_reads_its_own_card_and_never_its_secret(house: House) -> None:
    answer = await house.client.get("/v1/api-key")
    body = answer.json()
    assert (body["api_key_id"], body["name"], body["team_id"]) == (house.key.id, "first", house.key.id)
    assert body["acls"] == ["api-key:endpoint:*", "api-key:model:*"]
    assert body["create_time"].endswith("Z")
    assert house.secret not in answer.text


@in_house()
async def test_me_tells_the_balance_and_what_was_spent(house: House) -> None:
    await house.client.post("/v1/images/generations", json={"prompt": "a cat"})
    body = (await house.client.get("/v1/me")).json()
    assert (body["spent_ticks"], body["balance_ticks"]) == (200_000_000, -200_000_000)
    assert (body["zdr_status"], body["api_key"]["api_key_id"]) == ("no_zdr", house.key.id)


@in_house()
async def test_a_blocked_key_learns_that_it_is_and_nothing_else(house: House) -> None:
    house.state.keys.update(house.key.id, blocked=True)
    assert (await house.client.get("/v1/api-key")).json()["api_key_blocked"] is True
    assert (await house.client.get("/v1/models")).status_code == 403


@in_house()
async def test_a_key_shares_its_pictures_when_it_says_so_and_takes_it_back(house: House) -> None:
    assert (await house.client.get("/v1/data-sharing")).json() == {
        "shares": False, "since": None, "monthly_grant_ticks": 0,
    }  # fmt: skip
    agreed = (await house.client.post("/v1/data-sharing", json={"shares": True})).json()
    assert agreed["shares"]
    assert (await house.client.get("/v1/data-sharing")).json() == agreed
    house.state.keys.update(house.key.id, blocked=True)
    assert (await house.client.post("/v1/data-sharing", json={"shares": True})).status_code == 403
    assert not (await house.client.post("/v1/data-sharing", json={"shares": False})).json()["shares"]


@in_house()
async def test_agreeing_by_halves_is_no_agreement(house: House) -> None:
    for body in ({}, {"shares": "yes"}, {"shares": 1}):
        assert (await house.client.post("/v1/data-sharing", json=body)).status_code in (400, 422)
    assert not house.state.keys.get(house.key.id).shares_data
