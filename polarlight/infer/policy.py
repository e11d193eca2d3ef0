"""The policy gate: nothing is drawn, edited or published without a permit from it, whichever door a request came through.

`check` judges a request and gives a permit; the engine spends the permit on exactly that request, once; `check_output`
judges each picture before anyone sees it. The rules are the same for everybody: a request has no tier, and the key that
asks is written down but never weighed. A rule that fails or takes too long refuses.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..base.errors import UserError
from ..base.files import atomic_write
from ..media.pdq import MATCH_DISTANCE, BlockList, check_hex, distance, pdq_hash
from ..media.pictures import decode_picture, upright_pixels
from ..media.provenance import media_type, read_provenance
from .policy_audit import AuditLog
from .policy_request import EDITS, TASKS, GateRequest, Refused, Upload, request_digest
from .policy_rules import (
    ALWAYS,
    MESSAGES,
    SHIPPED,
    Classifier,
    Finding,
    PictureRule,
    PromptRules,
    block_rule,
    classifier_rule,
    first_finding,
)
from .policy_switches import Switches

SPENT_SECONDS = 86_400.0  # how long outputs of a spent permit are taken
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


@dataclass(frozen=True, kw_only=True)
class Permit:
    """The gate's word for one request: single use, for these very words, pictures and task, until it expires."""

    id: str
    gate: Gate = field(repr=False)

    def spend(self, task: str, prompt: str, pictures: Sequence[np.ndarray] = ()) -> None:
        """Use the permit up. The engine calls this before any work.

        Raises:
            Refused: it was used before, has expired, was given for something else or by another gate, or the capability
                was switched off in the meantime.
        """
        self.gate.spend(self, task, prompt, pictures)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of an output: `id` is that of its audit record, `pdq` its hash; `message` says why it may not be shown."""

    allowed: bool
    id: str
    pdq: str
    category: str = ""
    rule: str = ""
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class _Issued:
    request: GateRequest
    digest: str
    expires: float


class Gate:
    """The one gate of an installation. Its folder holds the audit log, the block list and the kill switches."""

    def __init__(
        self,
        folder: str | Path,
        config: GateConfig | None = None,
        rules: Path = SHIPPED,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open or begin the gate in a folder.

        Raises:
            UserError: a damaged rule file, a category that cannot be allowed, or a folder that cannot be written.
        """
        self.config, self.clock, self.folder = config or GateConfig(), clock, Path(folder)
        if wrong := self.config.allowed & ALWAYS | self.config.allowed - set(MESSAGES):
            raise UserError(
                f"The categories {', '.join(sorted(wrong))} cannot be allowed.",
                fix=f"Choose among {', '.join(sorted(set(MESSAGES) - ALWAYS))}.",
            )
        self.prompt_rules = PromptRules.load(rules, self.config.names)
        self.audit = AuditLog(self.folder, clock)
        self.switches = Switches(self.folder / "switches.json")
        self.blocked_path = self.folder / "blocked.txt"
        if not self.blocked_path.exists():
            atomic_write(self.blocked_path, "")
        classifiers = [classifier_rule(name, *both) for name, both in self.config.classifiers.items()]
        self.picture_rules: list[PictureRule] = [block_rule(self.blocked), *classifiers]
        self._blocked: tuple[tuple[int, int, int], BlockList] | None = None
        self.version = self._version(rules)
        self._issued: dict[str, _Issued] = {}
        self._spent: dict[str, _Issued] = {}
        self._lock = threading.Lock()

    def check(self, request: GateRequest) -> Permit:
        """Judge a request, write the decision down, and give a permit.

        Raises:
            Refused: a rule, a switch or a failure says no.
            UserError: the decision cannot be written down.
        """
        assert request.task in TASKS, f"unknown task {request.task}"
        permit = Permit(id=secrets.token_hex(16), gate=self)
        try:
            self._judge(request)
        except Refused as refusal:
            self._record(permit.id, request, "check", refused=refusal)
            raise
        self._record(permit.id, request, "check")
        digest = request_digest(request.task, request.prompt, [one.pixels for one in request.pictures])
        issued = _Issued(request=request, digest=digest, expires=self.clock() + self.config.permit_seconds)
        with self._lock:
            now = self.clock()
            for old in (self._issued, self._spent):
                for name in [name for name, one in old.items() if one.expires < now]:
                    del old[name]
            self._issued[permit.id] = issued
        return permit

    def spend(self, permit: Permit, task: str, prompt: str, pictures: Sequence[np.ndarray]) -> None:
        """See Permit.spend."""
        with self._lock:
            issued = self._issued.pop(permit.id, None)
            if issued is not None:
                self._spent[permit.id] = replace(issued, expires=self.clock() + SPENT_SECONDS)
        if issued is None:
            raise _permit_error("The permit is unknown, was used before or has expired.", "unknown")
        if issued.expires < self.clock():
            raise _permit_error("The permit has expired.", "expired")
        if issued.digest != request_digest(task, prompt, pictures):
            raise _permit_error("The permit was given for another request.", "other request")
        self._need_on(*TASKS[task])

    def check_output(self, permit: Permit, picture: np.ndarray, c2pa: str = "") -> Verdict:
        """Judge a picture that was made with a spent permit, before it is shown or saved. `c2pa`: its manifest's id.

        Raises:
            Refused: the permit was never spent here.
        """
        issued = self._spent.get(permit.id)
        if issued is None:
            raise _permit_error("No picture may be made without a spent permit.", "not spent")
        number = secrets.token_hex(16)
        refusal, pdq = None, ""
        try:
            self._need_on(*TASKS[issued.request.task])
            pdq = self._guarded("pdq", lambda: pdq_hash(picture)).hex
            if finding := self._guarded("pictures", lambda: first_finding(self.picture_rules, [picture])):
                raise _refused(finding)
        except Refused as error:
            refusal = error
        self._record(number, issued.request, "output", refused=refusal, permit=permit.id, output_pdq=pdq, c2pa=c2pa)
        if refusal is None:
            return Verdict(allowed=True, id=number, pdq=pdq)
        return Verdict(
            allowed=False, id=number, pdq=pdq, category=refusal.category, rule=refusal.rule, message=refusal.sentence
        )

    def takedown(self, hash_: str, reason: str) -> list[str]:
        """Block a picture by its PDQ hash from now on, in and out; returns the ids of the outputs that are copies of it.

        Raises:
            UserError: it is not a PDQ hash.
        """
        hash_ = check_hex(hash_)
        with self._lock:
            self.blocked().with_entry(hash_, reason).save(self.blocked_path)
        hashes = {one["id"]: one["output_pdq"] for one in self.audit.records() if one.get("output_pdq")}
        copies = [name for name, own in hashes.items() if distance(own, hash_) <= MATCH_DISTANCE]
        self.audit.append(event="takedown", output_pdq=hash_, reason=reason, copies=copies, id=secrets.token_hex(16))
        return copies

    def blocked(self) -> BlockList:
        """The block list as it is now on disk; read again only after a change."""
        now = self.blocked_path.stat()
        seen = (now.st_mtime_ns, now.st_size, now.st_ino)
        if self._blocked is None or self._blocked[0] != seen:
            self._blocked = seen, BlockList.load(self.blocked_path)
        return self._blocked[1]

    def _judge(self, request: GateRequest) -> None:
        self._need_on(*TASKS[request.task])
        photos = self._guarded("provenance", lambda: [one for one in request.pictures if not self._synthetic(one)])
        photo, person = bool(photos) and request.task in EDITS, False
        if finding := self._guarded(
            "prompt", lambda: self.prompt_rules.find(request.prompt, photo, self.config.allowed)
        ):
            raise _refused(finding)
        pictures = [one.pixels for one in request.pictures]
        if finding := self._guarded("pictures", lambda: first_finding(self.picture_rules, pictures)):
            raise _refused(finding)
        if photo:
            person = self._guarded("likeness", lambda: self._shows_person(request.prompt, photos))
        if person:
            self._need_on("edit_people")
            if not request.subject_consent:
                raise _refused(Finding(category="likeness", rule="consent"))

    def _shows_person(self, prompt: str, photos: Sequence[Upload]) -> bool:
        """By the installed classifier, and by the words of the instruction."""
        if self.prompt_rules.concerns_person(prompt):
            return True
        likeness, limit = self.config.likeness, self.config.likeness_threshold
        return likeness is not None and any(not likeness(one.pixels) < limit for one in photos)

    def _synthetic(self, upload: Upload) -> bool:
        """Whether trusted credentials say that nothing but a model made it. The watermark proves less: it can be copied."""
        if upload.content is None or not self.config.anchors:
            return False
        try:
            media_type(upload.content)
        except UserError:
            return False  # a format that carries no credentials
        found = read_provenance(upload.content, self.config.anchors)
        if found is None or found.state != "trusted" or not found.synthetic:
            return False
        return np.array_equal(upright_pixels(decode_picture(upload.content, "the upload")), upload.pixels)

    def _need_on(self, *capabilities: str) -> None:
        reason = self.switches.reason(*capabilities)
        if reason is not None:
            raise Refused(
                f"This is switched off at the moment: {reason}.",
                category="switched_off",
                rule=",".join(capabilities),
                code="switched_off",
                fix="Try again later.",
            )

    def _guarded(self, rule: str, judge: Callable[[], Result]) -> Result:
        """The answer of a rule; a rule that raises or takes too long refuses."""
        answers: list[Result] = []

        def run() -> None:
            try:
                answers.append(judge())
            except Exception as error:
                failures.append(type(error).__name__)

        failures: list[str] = []
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(self.config.rule_seconds)
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

    def _record(self, name: str, request: GateRequest, event: str, refused: Refused | None = None, **more: Any) -> None:
        kept = {"prompt": request.prompt} if self.config.keep_prompts else {}
        self.audit.append(
            event=event,
            id=name,
            entry_point=request.entry_point,
            key_id=request.key_id,
            task=request.task,
            prompt_hash=hashlib.sha256(request.prompt.encode(errors="surrogatepass")).hexdigest(),
            decision="refused" if refused else "allowed",
            category=refused.category if refused else "",
            rule=refused.rule if refused else "",
            subject_consent=request.subject_consent,
            gate_version=self.version,
            **kept,
            **more,
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


def _permit_error(sentence: str, rule: str) -> Refused:
    return Refused(sentence, category="permit", rule=rule, code="permit", fix="Ask the gate for a new permit.")
