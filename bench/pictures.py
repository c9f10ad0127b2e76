"""Pictures of real and synthetic lives side by side, for whoever wants to see what figures say."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gan_lab.schema import Roles
from gan_lab.synth.report.windows import autocorrelation, sensors


def pictures(train: pd.DataFrame, rows: pd.DataFrame, roles: Roles, folder: Path) -> None:
    """Draw five lives over each other, forty by their rows to the end with mean and spread, and
    autocorrelation."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    columns = _wearing(train, roles, 3)
    figure, axes = plt.subplots(3, 2, figsize=(11, 8), sharex=True, sharey="row")
    for side, (table, title) in enumerate(((train, "real"), (rows, "synthetic"))):
        for line, column in enumerate(columns):
            for _, life in list(table.groupby(roles.life))[:5]:
                axes[line, side].plot(range(len(life)), life[column], linewidth=0.7)
            axes[line, side].set_ylabel(column)
        axes[0, side].set_title(f"five {title} lives")
        axes[2, side].set_xlabel("rows since the start of the life")
    figure.savefig(folder / "five-lives.png", dpi=110, bbox_inches="tight")

    figure, axes = plt.subplots(3, 2, figsize=(11, 8), sharex=True, sharey="row")
    for side, (table, title) in enumerate(((train, "real"), (rows, "synthetic"))):
        left = table.groupby(roles.life).cumcount(ascending=False)
        for line, column in enumerate(columns):
            for _, life in list(table.groupby(roles.life))[:40]:
                axes[line, side].plot(-left[life.index], life[column], color="tab:blue", alpha=0.15)
            spread = table[column].groupby(left)
            knots = [k for k, n in spread.size().items() if n >= 10]
            mean, deviation = spread.mean()[knots], spread.std()[knots]
            axes[line, side].plot([-k for k in knots], mean, color="black")
            axes[line, side].fill_between(
                [-k for k in knots], mean - deviation, mean + deviation, color="black", alpha=0.15
            )
            axes[line, side].set_ylabel(column)
        axes[0, side].set_title(f"{title}: forty lives, mean and spread")
        axes[2, side].set_xlabel("rows to the end of the life")
    figure.savefig(folder / "fan.png", dpi=110, bbox_inches="tight")

    names = sensors(train, roles)
    lags = tuple(range(1, 41))
    figure, axis = plt.subplots(figsize=(7, 4.5))
    for table, style in ((train, "-"), (rows, "--")):
        found = autocorrelation(table, roles, names, lags)
        for number, line in enumerate(found.T[:6]):
            label = names[number] if style == "-" else None
            axis.plot(lags, line, style, color=f"C{number}", label=label)
    axis.set_xlabel("lag, rows (solid: real, dashed: synthetic)")
    axis.set_ylabel("autocorrelation")
    axis.legend(fontsize=7)
    figure.savefig(folder / "autocorrelation.png", dpi=110, bbox_inches="tight")
    plt.close("all")


def _wearing(table: pd.DataFrame, roles: Roles, most: int) -> list[str]:
    """Return the columns that follow the remaining useful life most closely."""
    names = sensors(table, roles)
    strength = table[names].corrwith(table[roles.rul], method="spearman").abs()
    return [str(name) for name in strength.nlargest(most).index]
