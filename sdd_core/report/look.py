"""Define the look of figures, without importing matplotlib."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from sdd_core.errors import SddError

Legend = Literal[
    "best", "upper-left", "upper-right", "lower-left", "lower-right", "right", "below", "none"
]
"""Place of a legend: in the panel, right of it, below it, or none."""

STYLE: dict[Any, Any] = {
    # No timestamps and no random identifiers: the same numbers give the same file.
    "svg.hashsalt": "sdd",
    # Text that can be searched and edited, and no Type 3 fonts, which conferences refuse.
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    # Names are not interpreted: a dollar sign begins no formula.
    "text.parse_math": False,
    "text.usetex": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}

# Colour, dashes and marker of each line. The colours are those of Okabe and Ito for colour-blind
# readers, without yellow; in black and white, dashes and markers distinguish the lines.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
DASHES: tuple[Any, ...] = (
    "-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)), (0, (9, 2)), (0, (3, 1, 1, 1, 1, 1)),
    (0, (2, 2)),
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "X", "P")


@dataclass(frozen=True)
class Look:
    """The look of a figure.

    width: in inches; None: the figure's default. font_size: in points. legend: place of the legend.
    Raises SddError for an impossible value.
    """

    width: float | None = None
    font_size: float = 10.0
    legend: str = "best"

    def __post_init__(self) -> None:
        if self.width is not None and not 1 <= self.width <= 50:
            raise SddError(f"width {self.width}: expected inches, from 1 to 50")
        if not 3 <= self.font_size <= 50:
            raise SddError(f"font size {self.font_size}: expected points, from 3 to 50")
        if self.legend not in get_args(Legend):
            raise SddError(f"legend {self.legend!r}: expected one of {', '.join(get_args(Legend))}")

    @property
    def style(self) -> dict[Any, Any]:
        """The settings of matplotlib."""
        return {
            **STYLE,
            "font.size": self.font_size,
            "axes.titlesize": self.size(1.1),
            "legend.fontsize": self.size(0.8),
        }

    def size(self, share: float) -> float:
        """Return a text size in points. share: relative to the font size."""
        return share * self.font_size

    def shape(self, width: float, panels: float) -> tuple[float, float]:
        """Return the width and height of a figure in inches; panels keep their proportions.

        width: default width in inches. panels: number of panels below one another.
        """
        wide = self.width or width
        return wide, 0.4 * wide * panels + 0.09 * self.font_size

    def characters(self, width: float) -> float:
        """Return how many characters fit below a panel; a legend at its right takes half the space.

        width: default width of the figure in inches.
        """
        panel = (self.width or width) * (0.45 if self.legend == "right" else 0.9)
        return max(14.0, panel * 72 / (0.55 * self.font_size))


WIDTH = 7.2
"""Default width of figures, in inches."""

USUAL = Look()


def line_style(number: int) -> dict[str, Any]:
    """Return the colour, dashes and marker of a line. The first 49 lines all differ, and any seven
    neighbours differ in dashes and markers."""
    turn = number // len(COLOURS)
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[(number + turn) % len(DASHES)],
        "marker": MARKERS[number % len(MARKERS)],
    }
