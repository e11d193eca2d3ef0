"""The card of an image model as one page: bars with their ceilings, text by length and by height, and the figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

MODEL, CEILING, PLANS = "#3a6ea5", "#c8553d", "#e0a030"


def draw(card: Mapping[str, Any]) -> Figure:
    """Lay out what `image_card.evaluate` returned."""
    figure = Figure(figsize=(12, 9), layout="constrained")
    choice = f", the best of {card['candidates']} each" if card.get("candidates", 1) > 1 else ""
    figure.suptitle(f"Image model, {card['count']} held-out scenes, mode {card['mode']}{choice}", fontsize=14)
    (composition, length), (height, figures) = figure.subplots(2, 2, width_ratios=(1.3, 1))
    draw_composition(composition, card["model"]["composition"], card["ceiling"]["composition"], card.get("plans"))
    draw_errors(length, "Text: character error rate by length (Latin)", card, "text_by_length")
    draw_height(height, card["fidelity"]["text_by_cap_height"])
    draw_figures(figures, card)
    return figure


def draw_composition(
    axes: Axes, model: Mapping[str, Any], ceiling: Mapping[str, Any], plans: Mapping[str, Any] | None = None
) -> None:
    """Share of right pictures by category with 95 % intervals; marks where true renders and the model's plans score."""
    names = list(model)
    values = [100 * model[name]["share"] for name in names]
    spread = [
        [100 * (model[name]["share"] - model[name]["low"]) for name in names],
        [100 * (model[name]["high"] - model[name]["share"]) for name in names],
    ]
    axes.bar(range(len(names)), values, yerr=spread, color=MODEL, capsize=3, label="model, 95 % interval")
    marks = [100 * ceiling[name]["share"] for name in names]
    axes.scatter(range(len(names)), marks, marker="_", s=900, color=CEILING, zorder=3, label="true renders (ceiling)")
    planned = [number for number, name in enumerate(names) if plans and name in plans]
    if plans and planned:
        right = [100 * plans[names[number]]["share"] for number in planned]
        axes.scatter(planned, right, marker="o", s=30, color=PLANS, zorder=4, label="the model's plans")
    axes.set_xticks(range(len(names)), [f"{name}\nn={model[name]['count']}" for name in names], fontsize=7)
    axes.set(title="Composition", ylabel="right, %", ylim=(0, 105))
    axes.legend(fontsize=8, loc="lower left")


def draw_errors(axes: Axes, title: str, card: Mapping[str, Any], key: str) -> None:
    """Character error rates of the model and of true renders, side by side for each bucket."""
    names = list(card["ceiling"][key])
    for shift, (label, part, colour) in enumerate((("model", "model", MODEL), ("true renders", "ceiling", CEILING))):
        rates = [100 * card[part][key].get(name, {}).get("cer", 0.0) for name in names]
        axes.bar([x + 0.4 * shift - 0.2 for x in range(len(names))], rates, width=0.38, color=colour, label=label)
    axes.set_xticks(
        range(len(names)), [f"{name}\nn={card['ceiling'][key][name]['count']}" for name in names], fontsize=8
    )
    axes.set(title=title, xlabel="characters", ylabel="CER, %")
    axes.legend(fontsize=8)


def draw_height(axes: Axes, buckets: Mapping[str, Any]) -> None:
    """What the tokenizer alone costs in legibility, by the height of capitals."""
    for shift, (label, key, colour) in enumerate(
        (("reconstruction", "reconstructed", MODEL), ("render", "real", CEILING))
    ):
        rates = [100 * row[key]["cer"] for row in buckets.values()]
        axes.bar([x + 0.4 * shift - 0.2 for x in range(len(buckets))], rates, width=0.38, color=colour, label=label)
    ticks = [f"{name}\nn={row['real']['count']}" for name, row in buckets.items()]
    axes.set_xticks(range(len(buckets)), ticks, fontsize=8)
    axes.set(title="Tokenizer: character error rate by cap height", xlabel="px", ylabel="CER, %")
    axes.legend(fontsize=8)


def draw_figures(axes: Axes, card: Mapping[str, Any]) -> None:
    """The table of single figures."""
    model, ceiling, fidelity = card["model"], card["ceiling"], card["fidelity"]
    rows = [["composition, mean", percent(model["mean"]), percent(ceiling["mean"])]]
    for script in model["text"]:
        for key, name in (("exact", "read exactly"), ("cer", "CER"), ("cer_any_case", "CER, any case")):
            if key in ceiling["text"][script]:
                numbers = [percent(part["text"][script][key]) for part in (model, ceiling)]
                rows.append([f"{script}: {name}", *numbers])
    if "cer" in ceiling["text_short"]:
        rows.append(["latin, up to 6: CER", *(percent(part["text_short"]["cer"]) for part in (model, ceiling))])
    rows += [
        ["tokenizer PSNR, dB", f"{fidelity['psnr']:.2f}", ""],
        ["tokenizer SSIM", f"{fidelity['ssim']:.4f}", "1"],
        ["seconds a picture", f"{card['seconds_per_picture']:.2f}", ""],
        ["passes a picture", f"{card['passes_per_picture']:.0f}", ""],
    ]
    axes.axis("off")
    table = axes.table(rows, colLabels=["", "model", "true renders"], loc="center", colWidths=[0.5, 0.25, 0.25])
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    table.scale(1, 1.5)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"
