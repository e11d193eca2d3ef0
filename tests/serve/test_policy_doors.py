"""The REST door decides as the gate does: a share of the gate's own suite of prompts, drawn and edited."""

from infer.policy_suite import NAMES, cases
from service_doors import House, data_uri, in_house, picture_file

EVERY = 5  # of the five hundred
PHOTO = data_uri(picture_file())


@in_house(names=NAMES)
async def test_prompts_are_refused_and_passed_as_the_gate_says(house: House) -> None:
    wrong = []
    chosen = [*cases()[::EVERY]]
    assert {case.photo for case in chosen} == {True, False}
    for case in chosen:
        body = {"prompt": case.prompt, "model": "gpt-image-1", "subject_consent": case.consent}
        path = "/v1/images/generations"
        if case.photo:
            path, body = "/v1/images/edits", body | {"image": {"url": PHOTO}}
        answer = await house.client.post(path, json=body)
        code = answer.json()["error"]["code"] if answer.status_code == 400 else None
        if (answer.status_code, code) != ((200, None) if case.category is None else (400, "moderation_blocked")):
            wrong.append((case, answer.status_code, answer.text[:100]))
    assert not wrong, wrong
    passed = sum(case.category is None for case in chosen)
    assert len(house.images.tasks) == passed
    assert 0 < passed < len(chosen)
