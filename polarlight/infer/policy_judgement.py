"""The judgement of the policy gate: a request, or a picture that was made, against the switches and all the rules.

A rule that fails or takes too long refuses.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..base.errors import UserError
from ..media.pdq import BlockList, pdq_hash
from ..media.pictures import decode_picture, upright_pixels
from ..media.provenance import media_type, read_provenance
from .policy_request import CONSENT, EDITS, TASKS, GateRequest, Refused, Upload
from .policy_rules import (
    ALWAYS,
    MESSAGES,
    Classifier,
    Finding,
    PictureRule,
    PromptRules,
    block_rule,
    classifier_rule,
    first_finding,
)
from .policy_switches import Switches

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """An operator's choices. Categories of policy_rules.ALWAYS cannot be allowed.

    `names`: real persons whose pictures are not made; `classifiers`: name -> (function, threshold by label), run on uploads
    and outputs; `likeness`: 0..1, how surely a picture shows a real person; `anchors`: PEM certificates whose signed
    pictures count as made by a model; `keep_prompts`: write prompts into the audit log and not only their hashes.
    """

    allowed: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()
    classifiers: Mapping[str, tuple[Classifier, Mapping[str, float]]] = field(default_factory=dict)
    likeness: Callable[[np.ndarray], float] | None = None
    likeness_threshold: float = 0.5
    anchors: str = ""
    keep_prompts: bool = False
    permit_seconds: float = 3600.0
    rule_seconds: float = 10.0

    @classmethod
    def read(cls, path: Path) -> GateConfig:
        """The choices in a JSON file: any of "allowed", "names" (lists of strings) and "keep_prompts"; without a file, none.

        Raises:
            UserError: the file cannot be read, or holds something else.
        """
        if not path.exists():
            return cls()
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            lists = [told.get(name, []) for name in ("allowed", "names")]
            keep = told.get("keep_prompts", False)
            known = set(told) <= {"allowed", "names", "keep_prompts"} and isinstance(keep, bool)
            if not known or not all(isinstance(one, list) and all(isinstance(x, str) for x in one) for one in lists):
                raise ValueError("only the lists allowed and names, and the switch keep_prompts, may stand there")
        except (OSError, ValueError, AttributeError) as error:
            raise UserError(f"Cannot read the gate's choices {path}: {error}.", fix="Correct the file.") from error
        return cls(allowed=frozenset(lists[0]), names=tuple(lists[1]), keep_prompts=keep)


class Judge:
    """The rules of a gate, ready to judge. `blocked` gives the block list as it is now."""

    def __init__(self, config: GateConfig, rules: Path, switches: Switches, blocked: Callable[[], BlockList]) -> None:
        if wrong := config.allowed & ALWAYS | config.allowed - set(MESSAGES):
            raise UserError(
                f"The categories {', '.join(sorted(wrong))} cannot be allowed.",
                fix=f"Choose among {', '.join(sorted(set(MESSAGES) - ALWAYS))}.",
            )
        self.config, self.switches = config, switches
        self.prompt_rules = PromptRules.load(rules, config.names)
        classifiers = [classifier_rule(name, *both) for name, both in config.classifiers.items()]
        self.picture_rules: list[PictureRule] = [block_rule(blocked), *classifiers]
        self.version = self._version(rules)

    def request(self, request: GateRequest) -> None:
        """Nothing where a request is allowed.

        Raises:
            Refused: a switch, a rule or a failure says no.
        """
        self.need_on(*TASKS[request.task])
        reads = bool(self.config.anchors and (request.pictures or request.frames))
        photos = self._guarded("provenance", lambda: self._photographs(request), waits=reads)
        photo, person = bool(photos) and request.task in EDITS, False
        words = request.prompt, photo, self.config.allowed, request.negative_prompt
        if finding := self._guarded("prompt", lambda: self.prompt_rules.find(*words)):
            raise _refused(finding)
        pictures = [*(one.pixels for one in request.pictures), *request.frames]
        if finding := self._pictures_finding(pictures):
            raise _refused(finding)
        if photo:
            waits = self.config.likeness is not None
            person = self._guarded("likeness", lambda: self._shows_person(request.prompt, photos), waits=waits)
        if person:
            self.need_on("edit_people")
            if not request.subject_consent:
                raise _refused(Finding(category="likeness", rule=CONSENT))

    def output(self, task: str, picture: np.ndarray) -> tuple[str, Refused | None]:
        """The PDQ hash of a picture that was made for a task, and why it may not be shown; the hash may be missing then."""
        pdq = ""
        try:
            self.need_on(*TASKS[task])
            pdq = self._guarded("pdq", lambda: pdq_hash(picture)).hex
            if finding := self._pictures_finding([picture]):
                raise _refused(finding)
        except Refused as refusal:
            return pdq, refusal
        return pdq, None

    def _pictures_finding(self, pictures: Sequence[np.ndarray]) -> Finding | None:
        waits = bool(self.config.classifiers)
        return self._guarded("pictures", lambda: first_finding(self.picture_rules, pictures), waits=waits)

    def _shows_person(self, prompt: str, photos: Sequence[np.ndarray]) -> bool:
        """By the installed classifier, and by the words of the instruction."""
        if self.prompt_rules.concerns_person(prompt):
            return True
        likeness, limit = self.config.likeness, self.config.likeness_threshold
        return likeness is not None and any(not likeness(each) < limit for each in photos)

    def _photographs(self, request: GateRequest) -> list[np.ndarray]:
        """The pictures and frames that count as photographs: all of which nothing proves that a model made them."""
        frames = () if request.source is not None and self._trusted(request.source) else request.frames
        return [*(one.pixels for one in request.pictures if not self._synthetic(one)), *frames]

    def _synthetic(self, upload: Upload) -> bool:
        """Whether a file proves that nothing but a model made it, and these are its pixels."""
        if upload.content is None or not self._trusted(upload.content):
            return False
        return np.array_equal(upright_pixels(decode_picture(upload.content, "the upload")), upload.pixels)

    def _trusted(self, content: bytes) -> bool:
        """Whether trusted credentials say that nothing but a model made it. The watermark proves less: it can be copied."""
        if not self.config.anchors:
            return False
        try:
            media_type(content)
        except UserError:
            return False  # a format that carries no credentials
        found = read_provenance(content, self.config.anchors)
        return found is not None and found.state == "trusted" and found.synthetic

    def need_on(self, *capabilities: str) -> None:
        """Nothing where the capabilities are on.

        Raises:
            Refused: one is switched off.
        """
        reason = self.switches.reason(*capabilities)
        if reason is not None:
            raise Refused(
                f"This is switched off at the moment: {reason}.",
                category="switched_off",
                rule=",".join(capabilities),
                code="switched_off",
                fix="Try again later.",
            )

    def _guarded(self, rule: str, judge: Callable[[], Result], waits: bool = False) -> Result:
        """The answer of a rule; a rule that raises refuses, and one that `waits` for foreign code also if it takes too long."""
        answers: list[Result] = []
        failures: list[str] = []
        if waits:
            thread = threading.Thread(target=_attempt, args=(judge, answers, failures), daemon=True)
            thread.start()
            thread.join(self.config.rule_seconds)
        else:
            _attempt(judge, answers, failures)
        if answers:
            return answers[0]
        why = failures[0] if failures else "timeout"
        raise Refused(
            "The safety check could not be completed, so nothing is made.",
            category="gate_failed",
            rule=f"{rule}:{why}",
            code="gate_failed",
            fix="Try again; if it stays so, tell the operator.",
        )

    def _version(self, rules: Path) -> str:
        """Names the rules and every choice that changes a decision."""
        config = self.config
        limits = {name: dict(both[1]) for name, both in config.classifiers.items()}
        choices = [sorted(config.allowed), sorted(config.names), limits, config.likeness is not None, config.anchors]
        text = json.dumps([*choices, config.likeness_threshold], sort_keys=True)
        return hashlib.sha256(rules.read_bytes() + text.encode()).hexdigest()[:16]


def _refused(finding: Finding) -> Refused:
    fix = "Change the request."
    if finding.category == "likeness":
        fix = "State that the person agreed (subject_consent), or use a picture that a model made."
    return Refused(finding.message, category=finding.category, rule=finding.rule, code="content_policy", fix=fix)


def _attempt(judge: Callable[[], Any], answers: list[Any], failures: list[str]) -> None:
    """Put the answer into one list, or the name of the error into the other."""
    try:
        answers.append(judge())
    except Exception as error:
        failures.append(type(error).__name__)
