"""Counters of one process as Prometheus text."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300)


class Metrics:
    """A registry of its own for each server, so that two in one process do not share counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "polarlight_requests", "Answers by route and status.", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "polarlight_request_seconds", "Time to the end of the answer.", ["route"], buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._jobs = Counter("polarlight_jobs", "Jobs by how they ended.", ["kind", "outcome"], registry=self.registry)
        self._pictures = Counter("polarlight_pictures", "Pictures made.", ["model"], registry=self.registry)
        self._ticks = Counter("polarlight_charged_ticks", "Ticks charged.", ["model"], registry=self.registry)
        self._unfinished = Gauge("polarlight_jobs_unfinished", "Jobs queued or running.", registry=self.registry)
        self._under_way = Gauge("polarlight_jobs_under_way", "Jobs in this process.", registry=self.registry)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer; `route` is the path's pattern, so that ids make no new series."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def ended(self, kind: str, outcome: str) -> None:
        """Count one job that left this process."""
        self._jobs.labels(kind, outcome).inc()

    def made(self, model: str, pictures: int) -> None:
        """Count pictures."""
        self._pictures.labels(model).inc(pictures)

    def charged(self, model: str, ticks: int) -> None:
        """Count what was charged."""
        self._ticks.labels(model).inc(ticks)

    def text(self, unfinished: int, under_way: int) -> bytes:
        """Everything as text."""
        self._unfinished.set(unfinished)
        self._under_way.set(under_way)
        return generate_latest(self.registry)
