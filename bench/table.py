"""Fill the results table of bench/README.md from the ledger: the newest entry of every benchmark, bar and ceiling beside it.

python bench/table.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.ledger import read

README = Path(__file__).with_name("README.md")
OPENING, CLOSING = "<!-- results -->", "<!-- end of results -->"
HEADING = (
    "| work | Polarlight | peer | ratio (95 %) | bar | share of the ceiling | taken |\n|---|---|---|---|---|---|---|"
)


def newest(name: str, **wanted: Any) -> dict[str, Any] | None:
    """The last entry of a benchmark whose result holds `wanted`."""
    found = [entry for entry in read(name) if all(entry["result"].get(key) == value for key, value in wanted.items())]
    return found[-1] if found else None


def taken(entry: dict[str, Any]) -> str:
    """When, with how many threads, on which clock, and whether other programs were running."""
    clock = ", cpu time" if entry["result"].get("clock") == "cpu" else ""
    load = f", loaded {entry['others']:.0%}" if entry["loaded"] else ""
    return f"{entry['date'][:10]}, {entry['machine']['threads']} threads{clock}{load}"


def ratio(value: dict[str, float]) -> str:
    return f"**{value['ratio']:.2f}** ({value['low']:.2f}-{value['high']:.2f})"


def row(
    entry: dict[str, Any], work: str, own: str, peer: str = "-", times: dict[str, float] | None = None,
    bar: float | str = "-", share: str = "-",
) -> str:  # fmt: skip
    """One line of the table."""
    shown = ratio(times) if times else "-"
    return f"| {work} | {own} | {peer} | {shown} | {bar} | {share} | {taken(entry)} |"


def decoding() -> Iterator[str]:
    """One row for every peer kind and number of rows."""
    kinds = {
        "eager": ("best eager `generate`", "over_eager_generate"),
        "loop": ("bare loop", "over_bare_loop"),
        "compiled": ("best compiled `generate`", "over_compiled_generate"),
    }
    for rows in (1, 8):
        entry = newest("decode", rows=rows)
        if not entry:
            continue
        result = entry["result"]
        steps, share = result["milliseconds_a_step"], f"{result['bandwidth_share']['polarlight']:.0%} of read bandwidth"
        for kind, (title, key) in kinds.items():
            if key in result:
                yield row(
                    entry, f"decode, {rows} row{'s' * (rows > 1)}, against {title}", f"{steps['polarlight']:.2f} ms a step",
                    f"{steps[kind]:.2f} ms", result[key], result["bars"].get(kind, "-"), share,
                )  # fmt: skip


def training() -> Iterator[str]:
    """One row for every pair of settings."""
    if entry := newest("train"):
        result = entry["result"]
        speeds = {name: f"{speed:.0f} tokens/s" for name, speed in result["tokens_a_second"].items()}
        for name, value in result["ratios"].items():
            own, peer = name.split(" over ")
            yield row(
                entry, f"training step, {name}", speeds[own], speeds[peer], value, result["bar"],
                f"{result['mfu'][own]:.0%} MFU",
            )  # fmt: skip


def drawing() -> Iterator[str]:
    """Speed against quality mode."""
    if entry := newest("pictures"):
        result = entry["result"]
        seconds, passes = result["seconds"], result["passes"]
        for count, value in result["speed_over_quality"].items():
            work = f"pictures {count}: {passes['speed']} passes against {passes['quality']}"
            yield row(entry, work, f"{seconds[f'speed {count}']:.2f} s", f"{seconds[f'quality {count}']:.2f} s", value)


def starting() -> Iterator[str]:
    """The first picture from cold, and imports."""
    entry = newest("cold")
    if not entry:
        return
    result, seconds = entry["result"], entry["result"]["seconds"]
    bars, shown = result["bars"], {name: f"{value * 1e3:.0f} ms" for name, value in seconds.items()}
    own, peer = f"{seconds['polarlight']:.2f} s", f"{seconds['diffusers']:.2f} s"
    work = "first picture from cold, against a tiny diffusers DiT"
    yield row(entry, work, own, peer, result["over_diffusers"], bars["first_picture"])
    own, peer = shown["import polarlight"], shown["import diffusers"]
    yield row(entry, "import of the package", own, peer, result["import_over_diffusers"], f"{bars['import']:.0f}")
    own, peer = shown["import polarlight's generator"], shown["import diffusers' pipeline"]
    yield row(entry, "import of what draws", own, peer, result["generator_over_pipeline"])
    yield row(entry, "`polarlight --help`", shown["polarlight --help"], bar=f"{bars['help_seconds'] * 1e3:.0f} ms")


def batching() -> Iterator[str]:
    """The engine against one direct batch and against one by one."""
    opponents = {"direct": ("one direct batch", "over_direct"), "one by one": ("one by one", "over_one_by_one")}
    for case in ("speed", "quality", "mixed"):
        entry = newest("serve_engine", case=case)
        if not entry:
            continue
        result = entry["result"]
        speeds = {name: f"{speed:.1f} pictures/s" for name, speed in result["pictures_per_second"].items()}
        shares = {name: f"{share:.0%} of the bare decode" for name, share in result["share_of_bare_decode"].items()}
        for name, (title, key) in opponents.items():
            yield row(
                entry, f"engine, {result['pictures']} pictures, {case}, against {title}", speeds["engine"],
                speeds[name], result[key], result["bars"][key], shares["engine"],
            )  # fmt: skip


def serving() -> Iterator[str]:
    """The server over HTTP: pictures a second."""
    opponents = {
        "engine": ("the engine called directly", "over_direct"),
        "processes": ("its own processes called directly", "over_processes"),
        "one by one": ("one by one", "over_one_by_one"),
        "peer": ("FastAPI around transformers, backbone alone", "over_peer"),
    }
    parts = {("throughput", "speed"): "speed", ("throughput", "quality"): "quality"}
    parts[("product", "quality")] = "quality with all candidates"
    for (part, mode), named in parts.items():
        entry = newest("serve", part=part, mode=mode)
        if not entry:
            continue
        result = entry["result"]
        speeds = {name: f"{speed:.1f} pictures/s" for name, speed in result["pictures_per_second"].items()}
        for name, (title, key) in opponents.items():
            if key in result:
                yield row(
                    entry, f"server, {result['pictures']} requests at once, {named}, against {title}", speeds["server"],
                    speeds[name], result[key], result["bars"].get(key, "-"),
                    f"{result['share_of_bare_decode']['server']:.0%} of the bare decode",
                )  # fmt: skip


def lasting() -> Iterator[str]:
    """The server over HTTP under a load that lasts."""
    for mode in ("speed", "quality"):
        if entry := newest("serve", part="sustained", mode=mode):
            result = entry["result"]
            speeds = {name: f"{speed:.1f} pictures/s" for name, speed in result["pictures_per_second"].items()}
            work = f"server, {result['clients']} clients who ask again and again, {mode}, against "
            yield row(
                entry, work + "the engine called directly", speeds["server"], speeds["engine"], result["over_direct"],
                result["bars"]["over_direct"],
            )  # fmt: skip
            if "over_processes" in result:
                own = work + "its own processes called directly"
                yield row(entry, own, speeds["server"], speeds["processes"], result["over_processes"])


def waiting() -> Iterator[str]:
    """The server over HTTP: waiting times beside the engine's, and one request with its longest step."""
    if entry := newest("serve", part="latency"):
        for clients, own in entry["result"]["server"].items():
            engine, many = entry["result"]["engine"][clients], f"{clients} client{'s' * (clients != '1')}"
            for event in ("first_partial", "finished"):
                shown = [f"{side[f'{event}_median']:.0f} ms, p95 {side[f'{event}_p95']:.0f}" for side in (own, engine)]
                share = f"{engine[f'{event}_median'] / own[f'{event}_median']:.0%} of the engine"
                work = f"server, {event.replace('_', ' ')} picture, {many}, beside the engine"
                yield row(entry, work, *shown, share=share)
    if entry := newest("serve", part="steps"):
        alone, prices = entry["result"]["milliseconds_alone"], entry["result"]["milliseconds"]
        longest = max(prices, key=lambda step: prices[step])
        work = f"server, one request, beside the engine (longest step: {longest}, {prices[longest]:.0f} ms)"
        share = f"{alone['engine'] / alone['server']:.0%} of the engine"
        yield row(entry, work, f"{alone['server']:.0f} ms", f"{alone['engine']:.0f} ms", share=share)


def marking() -> Iterator[str]:
    """The watermark by size: the least found after the changes of its goal, and in how many files that never had it."""
    for name, kind in {"watermark": "watermark", "watermark_clips": "watermark in clips"}.items():
        entry = newest(name)
        for size in entry["result"]["sizes"] if entry else ():
            goals, changes = entry["result"]["goals"], entry["result"]["goal_changes"]
            worst = min(changes, key=lambda change: size["changes"][change]["found"])
            work = (
                f"{kind}, {size['size']} px: found after {worst}, the hardest of {len(changes)} "
                f"(false alarms: {size['false_positives']} of {size['unmarked']})"
            )
            yield row(entry, work, f"{size['changes'][worst]['found']:.1%}", bar=f"{goals['true positives']:.0%}")


def limits() -> str:
    """One sentence on what the machine can do."""
    entry = newest("ceiling")
    if not entry:
        return ""
    result = entry["result"]
    sets = ", ".join(f"{row['bytes_per_second'] / 1e9:.0f} at {row['bytes'] >> 20} MB" for row in result["read"])
    peaks = ", ".join(f"{name} {value / 1e9:.0f} GFLOP/s" for name, value in result["gemm_peak"].items())
    return (
        f"Ceiling ({taken(entry)}): reads in GB/s {sets}; matrix products {peaks}; "
        f"an empty operation {result['dispatch_seconds'] * 1e6:.1f} µs."
    )


def main() -> None:
    rows = [
        *decoding(),
        *training(),
        *drawing(),
        *starting(),
        *batching(),
        *serving(),
        *lasting(),
        *waiting(),
        *marking(),
    ]
    text = README.read_text(encoding="utf-8")
    before, after = text.split(OPENING)[0], text.split(CLOSING)[1]
    table = "\n".join([OPENING, limits(), "", HEADING, *rows, CLOSING])
    README.write_text(before + table + after, encoding="utf-8")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
