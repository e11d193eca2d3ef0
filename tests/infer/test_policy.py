"""Nothing passes the gate without a permit, the same at every door, and a failing rule refuses."""

import json
import threading
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from infer.policy_clock import Clock
from infer.policy_suite import NAMES
from service_engines import FakeClips

from polarlight.base.errors import UserError
from polarlight.infer.engine import VideoTask
from polarlight.infer.policy import Gate, GateConfig
from polarlight.infer.policy_request import TASKS, GateRequest, Refused, Upload
from polarlight.media.pdq import pdq_hash
from polarlight.media.pictures import encode_picture

DOORS = ("cli", "rest.openai", "rest.xai", "grpc", "studio", "agent", "mcp")
Make = Callable[..., Gate]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Make:
    return lambda **settings: Gate(tmp_path / "gate", GateConfig(**settings), clock=clock)


def picture(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.kron(random.integers(0, 256, (16, 16, 3)), np.ones((8, 8, 1))).astype(np.uint8)


def draw(prompt: str = "a cat", **more: object) -> GateRequest:
    return GateRequest(task="draw", prompt=prompt, entry_point="cli", **more)


def edit(prompt: str, *pictures: Upload, **more: object) -> GateRequest:
    return GateRequest(task="edit", prompt=prompt, entry_point="cli", pictures=pictures, **more)


def refusal(gate: Gate, request: GateRequest) -> Refused:
    with pytest.raises(Refused) as caught:
        gate.check(request)
    return caught.value


def test_door_and_key_are_never_weighed(make: Make) -> None:
    gate = make()
    for door in DOORS:
        request = GateRequest(task="draw", prompt="a beheading", entry_point=door, key_id=f"gold-{door}")
        found = refusal(gate, request)
        assert (found.category, found.rule, found.code) == ("violence", "gore", "content_policy")
    assert "tier" not in {field.name for field in fields(GateRequest)}


def test_a_refusal_names_the_way_out_and_not_the_prompt(make: Make) -> None:
    found = refusal(make(), draw("a swastika banner"))
    assert isinstance(found, UserError)
    assert str(found) == "Symbols of hate are not made here. Change the request."


def test_what_is_never_allowed_cannot_be_configured(make: Make) -> None:
    for category in ("minors", "intimate", "undressing", "nonsense"):
        with pytest.raises(UserError, match="cannot be allowed"):
            make(allowed=frozenset({category}))


def test_a_photograph_of_a_person_needs_consent(make: Make) -> None:
    gate, photo = make(), Upload(pixels=picture(0))
    assert refusal(gate, edit("make her smile", photo)).category == "likeness"
    gate.check(edit("make her smile", photo, subject_consent=True))
    gate.check(edit("make the sky purple", photo))


def test_consent_never_allows_undressing(make: Make) -> None:
    request = edit("remove her clothes", Upload(pixels=picture(0)), subject_consent=True)
    assert refusal(make(allowed=frozenset({"sexual"})), request).category == "undressing"


def test_a_likeness_classifier_counts_whatever_the_words(make: Make) -> None:
    gate, photo = make(likeness=lambda pixels: 0.9), Upload(pixels=picture(0))
    assert refusal(gate, edit("make the sky purple", photo)).category == "likeness"
    assert refusal(make(likeness=lambda pixels: 0.1), edit("make her smile", photo)).category == "likeness"


def test_a_picture_that_a_model_made_needs_no_consent(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("c2pa")
    from polarlight.media.provenance import sign
    from polarlight.media.signing_identity import SigningIdentity

    identity = SigningIdentity.open(tmp_path)
    drawn = sign(encode_picture(picture(0), {}, ".png"), identity, {"prompt": "a woman"})
    gate = make(anchors=identity.anchor)
    gate.check(edit("make her smile", Upload(pixels=picture(0), content=drawn)))
    # the same file in front of other pixels, an unsigned file, and an edit of a photograph prove nothing
    edited = sign(encode_picture(picture(0), {}, ".png"), identity, {}, parent=encode_picture(picture(1), {}, ".png"))
    for upload in (
        Upload(pixels=picture(1), content=drawn),
        Upload(pixels=picture(0), content=encode_picture(picture(0), {}, ".png")),
        Upload(pixels=picture(0), content=edited),
        Upload(pixels=picture(0), content=b"GIF89a"),
        Upload(pixels=picture(0)),
    ):
        assert refusal(gate, edit("make her smile", upload)).category == "likeness"
    assert refusal(make(), edit("make her smile", Upload(pixels=picture(0), content=drawn))).category == "likeness"


def test_a_blocked_picture_goes_neither_in_nor_out(make: Make) -> None:
    gate = make()
    permit = gate.check(draw())
    permit.spend("draw", "a cat")
    assert gate.check_output(permit, picture(0)).allowed
    gate.takedown(pdq_hash(picture(0)).hex, "report 5")
    assert refusal(gate, edit("make it winter", Upload(pixels=picture(0)))).category == "blocked_picture"
    verdict = gate.check_output(permit, picture(0))
    assert (verdict.allowed, verdict.category) == (False, "blocked_picture")
    assert verdict.message == "The picture is on the block list."
    assert gate.check_output(permit, picture(1)).allowed


def test_a_takedown_names_the_copies(make: Make) -> None:
    gate = make()
    permit = gate.check(draw())
    permit.spend("draw", "a cat")
    ids = [gate.check_output(permit, picture(seed)).id for seed in (0, 1, 0)]
    assert gate.takedown(pdq_hash(picture(0)).hex.upper(), "report 5") == [ids[0], ids[2]]


def test_classifiers_see_inputs_and_outputs(make: Make) -> None:
    def shield(pixels: np.ndarray) -> dict[str, float]:
        return {"violence": 1.0 if np.array_equal(pixels, picture(0)) else 0.0}

    gate = make(classifiers={"shield": (shield, {"violence": 0.5})})
    found = refusal(gate, edit("make it winter", Upload(pixels=picture(0))))
    assert (found.category, found.rule) == ("classifier", "shield:violence")
    permit = gate.check(draw())
    permit.spend("draw", "a cat")
    assert not gate.check_output(permit, picture(0)).allowed
    assert gate.check_output(permit, picture(1)).allowed


def broken(pixels: np.ndarray) -> dict[str, float]:
    raise RuntimeError("out of memory")


def test_a_rule_that_fails_refuses(make: Make) -> None:
    gate = make(classifiers={"shield": (broken, {"violence": 0.5})})
    found = refusal(gate, edit("make it winter", Upload(pixels=picture(0))))
    assert (found.category, found.code, found.rule) == ("gate_failed", "gate_failed", "pictures:RuntimeError")
    permit = gate.check(draw())
    permit.spend("draw", "a cat")
    assert gate.check_output(permit, picture(0)).category == "gate_failed"


def test_a_rule_that_hangs_refuses(make: Make) -> None:
    release = threading.Event()

    def slow(pixels: np.ndarray) -> dict[str, float]:
        release.wait(30)
        return {"violence": 0.0}

    gate = make(classifiers={"shield": (slow, {"violence": 0.5})}, rule_seconds=0.05)
    found = refusal(gate, edit("make it winter", Upload(pixels=picture(0))))
    release.set()
    assert (found.category, found.rule) == ("gate_failed", "pictures:timeout")


def test_a_clip_made_here_needs_no_consent_and_another_does(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("c2pa")
    from polarlight.media.provenance import sign
    from polarlight.media.signing_identity import SigningIdentity

    clip = FakeClips().make(VideoTask(prompt="a woman")).content
    identity = SigningIdentity.open(tmp_path)
    gate, asked = (
        make(anchors=identity.anchor),
        {"task": "edit_video", "prompt": "make her smile", "entry_point": "cli"},
    )
    gate.check(GateRequest(**asked, source=sign(clip, identity, {}), frames=(picture(0),)))
    assert refusal(gate, GateRequest(**asked, source=clip, frames=(picture(0),))).category == "likeness"


def test_frames_of_a_source_are_judged_as_pictures_are(make: Make) -> None:
    gate = make()
    gate.takedown(pdq_hash(picture(0)).hex, "report 5")
    asked = {"task": "extend", "prompt": "and on", "entry_point": "cli", "source": b"clip"}
    assert refusal(gate, GateRequest(**asked, frames=(picture(1), picture(0)))).category == "blocked_picture"
    gate.check(GateRequest(**asked, frames=(picture(1),)))


def test_a_negative_prompt_that_undresses_is_refused_and_a_usual_one_passes(make: Make) -> None:
    gate = make()
    assert refusal(gate, draw("a woman at the sea", negative_prompt="clothes")).category == "sexual"
    assert refusal(gate, draw("a girl of nine", negative_prompt="clothing")).category == "minors"
    gate.check(draw("a woman at the sea", negative_prompt="nude, nsfw, blurry, bad hands"))
    gate.check(draw("a cat", negative_prompt="clothes"))


def test_a_draft_is_judged_and_written_down_only_where_it_is_withheld(make: Make) -> None:
    gate = make()
    permit = gate.check(draw())
    permit.spend("draw", "a cat")
    gate.block([(pdq_hash(picture(0)).hex, "")])
    assert gate.may_show(permit, picture(1))
    assert not gate.may_show(permit, picture(0))
    assert [one["decision"] for one in gate.audit.records() if one["event"] == "output"] == ["refused"]


def test_a_list_is_blocked_as_a_whole_or_not_at_all(make: Make) -> None:
    gate = make()
    good = pdq_hash(picture(0)).hex
    with pytest.raises(UserError, match="not a PDQ hash"):
        gate.block([(good, ""), ("nonsense", "")])
    assert len(gate.blocked()) == 0
    assert (gate.block([(good, "mine"), (good, "")], "a list"), list(gate.blocked())) == (1, [(good, "a list")])


def test_switching_is_written_down(make: Make) -> None:
    gate = make()
    gate.turn_off("video", "a report")
    assert gate.switches.reason("video") == "a report"
    gate.turn_on("video")
    assert gate.switches.reason("video") is None
    events = [(one["event"], one["capability"]) for one in gate.audit.records()]
    assert events == [("switched off", "video"), ("switched on", "video")]


def test_the_gate_of_a_home_trusts_what_this_installation_signed(tmp_path: Path) -> None:
    assert Gate.at(tmp_path).config.anchors == ""
    (tmp_path / "signing").mkdir()
    (tmp_path / "signing" / "anchor.pem").write_text("PEM")
    gate = Gate.at(tmp_path)
    assert (gate.config.anchors, gate.folder) == ("PEM", tmp_path / "policy")
    assert Gate.at(tmp_path, GateConfig(anchors="other")).config.anchors == "other"


def test_the_gate_of_a_home_follows_the_operators_choices(tmp_path: Path) -> None:
    choices = tmp_path / "policy" / "choices.json"
    choices.parent.mkdir()
    choices.write_text(json.dumps({"names": list(NAMES), "allowed": ["violence"]}), encoding="utf-8")
    gate = Gate.at(tmp_path)
    assert refusal(gate, draw(NAMES[0])).category == "impersonation"
    gate.check(draw("a beheading"))


@pytest.mark.parametrize(
    "choices", ["{", "[]", '{"name": []}', '{"names": "me"}', '{"names": [1]}', '{"keep_prompts": 1}']
)
def test_wrong_choices_open_no_gate(tmp_path: Path, choices: str) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "choices.json").write_text(choices, encoding="utf-8")
    with pytest.raises(UserError, match="Cannot read the gate's choices"):
        Gate.at(tmp_path)


def test_a_lost_block_list_refuses(make: Make) -> None:
    gate = make()
    gate.blocked_path.unlink()
    assert refusal(gate, edit("make it winter", Upload(pixels=picture(0)))).category == "gate_failed"


def test_what_cannot_be_written_down_is_not_permitted(make: Make) -> None:
    gate = make()
    gate.audit.path.mkdir()
    with pytest.raises(UserError, match="Cannot write"):
        gate.check(draw())


def test_a_switched_off_capability_stops_requests_permits_and_outputs(make: Make) -> None:
    gate = make()
    waiting, running = gate.check(draw()), gate.check(draw())
    running.spend("draw", "a cat")
    gate.switches.turn_off("draw", "a report is looked into")
    found = refusal(gate, draw())
    assert (found.code, found.sentence) == (
        "switched_off",
        "This is switched off at the moment: a report is looked into.",
    )
    with pytest.raises(Refused, match="switched off"):
        waiting.spend("draw", "a cat")
    assert gate.check_output(running, picture(0)).category == "switched_off"
    gate.check(edit("make it winter", Upload(pixels=picture(0))))


def test_edits_of_people_have_a_switch_of_their_own(make: Make) -> None:
    gate, photo = make(), Upload(pixels=picture(0))
    gate.switches.turn_off("edit_people", "not offered")
    assert refusal(gate, edit("make her smile", photo, subject_consent=True)).code == "switched_off"
    gate.check(edit("make the sky purple", photo))


@pytest.mark.parametrize("task", TASKS)
def test_every_task_passes_and_stops(make: Make, task: str) -> None:
    gate = make()
    request = GateRequest(task=task, prompt="a cat", entry_point="cli")
    gate.check(request).spend(task, "a cat")
    gate.switches.turn_off("all", "maintenance")
    assert refusal(gate, request).code == "switched_off"


def test_the_log_tells_what_was_decided_and_keeps_the_prompt_out(make: Make) -> None:
    gate = make()
    permit = gate.check(draw("a secret lighthouse", key_id="key-1"))
    permit.spend("draw", "a secret lighthouse")
    verdict = gate.check_output(permit, picture(0), c2pa="urn:c2pa:1")
    refusal(gate, draw("a secret beheading"))
    checked, output, refused = gate.audit.records()
    assert (checked["decision"], checked["key_id"], checked["entry_point"]) == ("allowed", "key-1", "cli")
    assert (output["permit"], output["output_pdq"], output["c2pa"]) == (permit.id, verdict.pdq, "urn:c2pa:1")
    assert (refused["decision"], refused["category"], refused["rule"]) == ("refused", "violence", "gore")
    assert checked["gate_version"] == gate.version
    assert "secret" not in gate.audit.path.read_text(encoding="utf-8")


def test_an_operator_can_keep_prompts(make: Make) -> None:
    gate = make(keep_prompts=True)
    gate.check(draw("a lighthouse"))
    assert next(gate.audit.records())["prompt"] == "a lighthouse"


def test_the_gate_version_names_rules_and_choices(make: Make) -> None:
    versions = {make().version, make(names=NAMES).version, make(allowed=frozenset({"violence"})).version}
    assert len(versions) == 3
    assert make().version in versions


def test_a_prompt_that_is_no_text_is_still_decided(make: Make) -> None:
    gate = make()
    gate.check(draw("\ud800 a cat"))
    gate.check(draw("word " * 20_000))
    assert json.loads(gate.audit.path.read_text(encoding="utf-8").splitlines()[0])["decision"] == "allowed"
