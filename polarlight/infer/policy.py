"""The policy gate: nothing is drawn, edited or published without a permit from it, whichever door a request came through.

`check` judges a request and gives a permit; the engine spends the permit on exactly that request, once; `check_output`
judges each picture before anyone sees it. The rules are the same for everybody: a request has no tier, and the key that
asks is written down but never weighed. A rule that fails or takes too long refuses.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..base.files import atomic_write
from ..media.pdq import MATCH_DISTANCE, BlockList, check_hex, distance
from ..media.signing_identity import ANCHOR
from ..media.signing_identity import FOLDER as SIGNING
from .policy_audit import AuditLog
from .policy_judgement import GateConfig, Judge
from .policy_permits import Permit, PermitBook
from .policy_request import CONSENT, TASKS, Contents, GateRequest, Refused, Upload, task_request
from .policy_rules import SHIPPED
from .policy_switches import Switches

__all__ = [
    "CONSENT",
    "Contents",
    "Gate",
    "GateConfig",
    "GateRequest",
    "Permit",
    "Refused",
    "Upload",
    "Verdict",
    "task_request",
]

FOLDER = "policy"  # of the gate within an installation's home


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of an output: `id` is that of its audit record, `pdq` its hash; `message` says why it may not be shown."""

    allowed: bool
    id: str
    pdq: str
    category: str = ""
    rule: str = ""
    message: str = ""

    def refusal(self) -> Refused:
        """The error for a door that has nothing else to give."""
        code = self.category if self.category in ("switched_off", "gate_failed") else "content_policy"
        fix = "Change the request, or try another seed."
        return Refused(self.message, category=self.category, rule=self.rule, code=code, fix=fix)


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
        self.audit = AuditLog(self.folder, clock)
        self.switches = Switches(self.folder / "switches.json")
        self.blocked_path = self.folder / "blocked.txt"
        with self.audit.locked():
            if not self.blocked_path.exists():
                atomic_write(self.blocked_path, "")
        self._judge = Judge(self.config, rules, self.switches, self.blocked)
        self._blocked: tuple[tuple[int, int, int], BlockList] | None = None
        self.version = self._judge.version
        self.permits = PermitBook(clock)

    @classmethod
    def at(cls, home: str | Path, config: GateConfig | None = None) -> Gate:
        """The gate of an installation, one for all its doors, in the folder `home`/policy.

        Without `config` the operator's choices are those in choices.json in that folder, see `GateConfig.read`. Without
        anchors, what this installation signed counts as made by a model, and not as a photograph.

        Raises:
            UserError: as the constructor.
        """
        config = config or GateConfig.read(Path(home) / FOLDER / "choices.json")
        anchor = Path(home) / SIGNING / ANCHOR
        if not config.anchors and anchor.is_file():
            config = replace(config, anchors=anchor.read_text(encoding="ascii"))
        return cls(Path(home) / FOLDER, config)

    def check(self, request: GateRequest) -> Permit:
        """Judge a request, write the decision down, and give a permit.

        Raises:
            Refused: a rule, a switch or a failure says no.
            UserError: the decision cannot be written down.
        """
        assert request.task in TASKS, f"unknown task {request.task}"
        permit = Permit(id=secrets.token_hex(16), gate=self)
        try:
            self._judge.request(request)
        except Refused as refusal:
            self._record(permit.id, request, "check", refusal.category, refusal.rule)
            raise
        self._record(permit.id, request, "check")
        self.permits.issue(permit, request, self.config.permit_seconds)
        return permit

    def spend(self, permit: Permit, contents: Contents) -> None:
        """Use a permit up for these contents; doors call `Permit.submit`.

        Raises:
            Refused: it was used before, has expired, was given for something else or by another gate, or the capability
                was switched off in the meantime.
        """
        self._judge.need_on(*TASKS[self.permits.spend(permit, contents).task])

    def check_output(self, permit: Permit, picture: np.ndarray, c2pa: str = "") -> Verdict:
        """Judge a picture that was made with a spent permit, before it is shown or saved. `c2pa`: its manifest's id.

        Raises:
            Refused: the permit was never spent here.
        """
        verdict = self._verdict(permit, picture)
        self._record_output(permit, verdict, c2pa)
        return verdict

    def may_show(self, permit: Permit, picture: np.ndarray) -> bool:
        """Judge a draft that somebody is shown and nobody keeps: as an output, but written down only where it is refused.

        Raises:
            Refused: the permit was never spent here.
        """
        verdict = self._verdict(permit, picture)
        if not verdict.allowed:
            self._record_output(permit, verdict)
        return verdict.allowed

    def turn_off(self, capability: str, reason: str) -> None:
        """Switch a capability off and write it down; "all" stands for every one.

        Raises:
            UserError: an unknown capability, or damaged switches.
        """
        self.switches.turn_off(capability, reason)
        self.audit.append(event="switched off", capability=capability, reason=reason)

    def turn_on(self, capability: str) -> None:
        """Switch a capability on again and write it down.

        Raises:
            UserError: an unknown capability, or damaged switches.
        """
        self.switches.turn_on(capability)
        self.audit.append(event="switched on", capability=capability)

    def takedown(self, hash_: str, reason: str) -> list[str]:
        """Block a picture by its PDQ hash from now on, in and out; returns the ids of the outputs that are copies of it.

        Raises:
            UserError: it is not a PDQ hash.
        """
        hash_ = check_hex(hash_)
        self._block([(hash_, reason)])
        hashes = {one["id"]: one["output_pdq"] for one in self.audit.records() if one.get("output_pdq")}
        copies = [name for name, own in hashes.items() if distance(own, hash_) <= MATCH_DISTANCE]
        self.audit.append(event="takedown", output_pdq=hash_, reason=reason, copies=copies, id=secrets.token_hex(16))
        return copies

    def block(self, entries: Iterable[tuple[str, str]], reason: str = "") -> int:
        """Add (PDQ hash, note) pairs to the block list, such as a list from elsewhere; returns how many were new.

        Raises:
            UserError: one is not a PDQ hash; then none is added.
        """
        new = self._block([(check_hex(hash_), note or reason) for hash_, note in entries])
        self.audit.append(event="block", count=new, reason=reason, id=secrets.token_hex(16))
        return new

    def _block(self, entries: Sequence[tuple[str, str]]) -> int:
        """Write the longer list; other processes wait meanwhile."""
        with self.audit.locked():
            notes = dict(self.blocked())
            before = len(notes)
            for hash_, note in entries:
                notes[hash_] = " ".join(note.split()) or notes.get(hash_, "")
            BlockList(notes.items()).save(self.blocked_path)
        return len(notes) - before

    def blocked(self) -> BlockList:
        """The block list as it is now on disk; read again only after a change."""
        now = self.blocked_path.stat()
        seen = (now.st_mtime_ns, now.st_size, now.st_ino)
        if self._blocked is None or self._blocked[0] != seen:
            self._blocked = seen, BlockList.load(self.blocked_path)
        return self._blocked[1]

    def _verdict(self, permit: Permit, picture: np.ndarray) -> Verdict:
        task, number = self.permits.spent(permit).task, secrets.token_hex(16)
        pdq, no = self._judge.output(task, picture)
        if no is None:
            return Verdict(allowed=True, id=number, pdq=pdq)
        return Verdict(allowed=False, id=number, pdq=pdq, category=no.category, rule=no.rule, message=no.sentence)

    def _record_output(self, permit: Permit, verdict: Verdict, c2pa: str = "") -> None:
        more = {"permit": permit.id, "output_pdq": verdict.pdq, "c2pa": c2pa}
        self._record(verdict.id, self.permits.spent(permit), "output", verdict.category, verdict.rule, **more)

    def _record(
        self, name: str, request: GateRequest, event: str, category: str = "", rule: str = "", **more: str
    ) -> None:
        words = {"prompt": request.prompt, "negative_prompt": request.negative_prompt}
        self.audit.append(
            event=event,
            id=name,
            entry_point=request.entry_point,
            key_id=request.key_id,
            task=request.task,
            prompt_hash=hashlib.sha256(request.prompt.encode(errors="surrogatepass")).hexdigest(),
            decision="refused" if category else "allowed",
            category=category,
            rule=rule,
            subject_consent=request.subject_consent,
            gate_version=self.version,
            **(words if self.config.keep_prompts else {}),
            **more,
        )
