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
        own, share = result["milliseconds_a_step"]["polarlight"], result["bandwidth_share"]["polarlight"]
        for kind, (title, key) in kinds.items():
            if key in result:
                bar = result["bars"].get(kind)
                yield (
                    f"| decode, {rows} row{'s' * (rows > 1)}, against {title} | {own:.2f} ms a step "
                    f"| {result['milliseconds_a_step'][kind]:.2f} ms | {ratio(result[key])} | {bar or '-'} "
                    f"| {share:.0%} of read bandwidth | {taken(entry)} |"
                )


def training() -> Iterator[str]:
    """One row for every pair of settings."""
    if entry := newest("train"):
        result = entry["result"]
        for name, value in result["ratios"].items():
            own, peer = name.split(" over ")
            yield (
                f"| training step, {name} | {result['tokens_a_second'][own]:.0f} tokens/s "
                f"| {result['tokens_a_second'][peer]:.0f} tokens/s | {ratio(value)} | {result['bar']} "
                f"| {result['mfu'][own]:.0%} MFU | {taken(entry)} |"
            )


def drawing() -> Iterator[str]:
    """Speed against quality mode, and the first picture from cold."""
    if entry := newest("pictures"):
        result = entry["result"]
        for count, value in result["speed_over_quality"].items():
            yield (
                f"| pictures {count}: {result['passes']['speed']} passes against {result['passes']['quality']} "
                f"| {result['seconds'][f'speed {count}']:.2f} s | {result['seconds'][f'quality {count}']:.2f} s "
                f"| {ratio(value)} | - | - | {taken(entry)} |"
            )
    if entry := newest("cold"):
        result = entry["result"]
        yield (
            f"| first picture from cold, against a tiny diffusers DiT | {result['seconds']['polarlight']:.2f} s "
            f"| {result['seconds']['diffusers']:.2f} s | {ratio(result['over_diffusers'])} "
            f"| {result['bars']['first_picture']} | - | {taken(entry)} |"
        )
        seconds = result["seconds"]
        yield (
            f"| import of the package | {seconds['import polarlight'] * 1e3:.0f} ms | {seconds['import diffusers'] * 1e3:.0f} ms "
            f"| {ratio(result['import_over_diffusers'])} | {result['bars']['import']:.0f} | - | {taken(entry)} |"
        )
        own, peer = seconds["import polarlight's generator"], seconds["import diffusers' pipeline"]
        yield (
            f"| import of what draws | {own * 1e3:.0f} ms | {peer * 1e3:.0f} ms "
            f"| {ratio(result['generator_over_pipeline'])} | - | - | {taken(entry)} |"
        )
        yield (
            f"| `polarlight --help` | {seconds['polarlight --help'] * 1e3:.0f} ms | - | - "
            f"| {result['bars']['help_seconds'] * 1e3:.0f} ms | - | {taken(entry)} |"
        )


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
    rows = [*decoding(), *training(), *drawing()]
    text = README.read_text(encoding="utf-8")
    before, after = text.split(OPENING)[0], text.split(CLOSING)[1]
    table = "\n".join([OPENING, limits(), "", HEADING, *rows, CLOSING])
    README.write_text(before + table + after, encoding="utf-8")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
