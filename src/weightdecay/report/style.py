"""The style of all figures: as wide as a LaTeX column, the same colours for λ everywhere, and stamped with the scale.

The paper prints figures at their own size, so 7 pt here is 7 pt on paper.
"""

from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import matplotlib as mpl

mpl.use("Agg")  # no display on a cluster
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.colors import Colormap, LogNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from weightdecay.config import SCALES
from weightdecay.files import atomic_path

Made = TypeVar("Made")

COLUMN = 3.4  # inches
PAGE = 7.0
MUTED = "0.45"
EXPLAINED = "explained"  # marks the text in an empty panel
UNSEEN = "nothing to show:\nnot run, or diverged"

# Okabe & Ito's colours, which people with any common kind of colour blindness can tell apart
SPLITS = {"train": "#0072B2", "validation": "#009E73", "test": "#D55E00"}
KINDS = {"free": "#D55E00", "held": "#56B4E9", "clean": "#0072B2", "noisy": "#CC79A7", "published": "black"}

COLOURBLIND = (  # seaborn's palette of this name
    *("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc"),
    *("#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9"),
)

UNDATED = dict.fromkeys(("CreationDate", "ModDate", "Producer", "Creator"))  # metadata of PDFs with the same bytes

LAMBDA_NORM = LogNorm(1e-3, 120.0, clip=True)  # the λ of all findings; values outside take the colour of the nearer end
LAMBDA_COLOURS = mpl.colormaps["viridis_r"]


def weight_decay_colour(weight_decay: float) -> tuple[float, float, float, float] | str:
    """Return the colour of a λ, the same in every figure: yellow (.001) to dark violet (120), and grey for λ = 0."""
    if weight_decay == 0:
        return "0.55"
    return LAMBDA_COLOURS(0.08 + 0.92 * float(LAMBDA_NORM(weight_decay)))  # the palest yellow is invisible on white


def palette(name: str, count: int) -> list[tuple[float, float, float]]:
    """Return `count` colours as seaborn's `color_palette` does: its "colorblind", or evenly from a colour map."""
    if name == "colorblind":
        return [to_rgb(colour) for colour in islice(cycle(COLOURBLIND), count)]
    return [(float(r), float(g), float(b)) for r, g, b, _ in colour_map(name)(np.linspace(0, 1, count + 2)[1:-1])]


def colour_map(name: str) -> Colormap:
    """Return a colour map of matplotlib or of seaborn."""
    if name not in mpl.colormaps:
        import seaborn  # noqa: F401 (it registers its maps; importing it takes a second, and few findings need them)
    return mpl.colormaps[name]


SMALL, TEXT = 7, 8  # pt
SEABORN: dict[str, Any] = {  # the settings of seaborn's style "ticks" and context "paper" that are not in OWN
    **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color"), ".15"),
    "axes.axisbelow": True,
    "axes.prop_cycle": mpl.cycler(color=palette("colorblind", len(COLOURBLIND))),
    "grid.color": ".8",
    "lines.solid_capstyle": "round",
    "patch.edgecolor": "w",
    "patch.force_edgecolor": True,
    "patch.linewidth": 0.8,
}
OWN: dict[str, Any] = {
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib; seaborn's Arial is missing on some machines
    "font.size": TEXT,
    "axes.titlesize": TEXT,
    "axes.labelsize": TEXT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.title_fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.titlelocation": "left",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
    "mathtext.fontset": "dejavusans",
    "axes.formatter.use_mathtext": True,
}


def apply() -> None:
    """Set the style for every figure made from now on; a user's matplotlibrc has no effect."""
    mpl.rcdefaults()
    plt.rcParams.update(SEABORN | OWN)


def missing(axes: Axes, what: str) -> None:
    """Say in an empty panel what is missing, so that the reader need not guess."""
    said = axes.text(0.5, 0.5, what, transform=axes.transAxes, ha="center", va="center", color=MUTED, fontsize=8)
    said.set(wrap=True, gid=EXPLAINED, in_layout=False)  # a long text must not shrink the panels
    # hide the ticks of this panel only: their positions are shared with other panels
    axes.tick_params(which="both", bottom=False, left=False, labelbottom=False, labelleft=False)


def has_data(axes: Axes, shared: Literal["x", "y"] | None = None) -> bool:
    """Return whether a panel, or any panel that shares the axis `shared` with it, has more than lines at thresholds."""
    if shared is not None:
        return any(map(has_data, getattr(axes, f"get_shared_{shared}_axes")().get_siblings(axes)))
    lines = (line.get_xydata() for line in axes.lines if line.get_transform() == axes.transData)
    if axes.images or any(np.isfinite(np.asarray(points, dtype=float)).all(axis=1).any() for points in lines):
        return True
    limits = [artist.get_datalim(axes.transData).get_points() for artist in axes.collections]
    bars = [patch for patch in axes.patches if patch.get_transform().contains_branch(axes.transData)]
    return any(np.isfinite(points).all() for points in [*limits, *(bar.get_extents().bounds for bar in bars)])


def say_what_is_missing(figure: Figure) -> None:
    """Write into every panel without data that it has none, and make its axes linear: a logarithm needs data."""
    for axes in figure.axes:
        explained = any(text.get_gid() == EXPLAINED for text in axes.texts)
        if axes.axison and axes.get_label() != "<colorbar>" and not has_data(axes) and not explained:
            for text in axes.texts:  # labels of data that are missing
                text.set_visible(False)
            missing(axes, UNSEEN)
        for axis in ("x", "y"):
            if not has_data(axes, axis) and axes.get_label() != "<colorbar>":
                axes.set(**{f"{axis}scale": "linear", f"{axis}lim": (0, 1)})


def save(figure: Figure, folder: Path, stem: str, scale: str) -> None:
    """Save <folder>/<stem>.pdf and .png; the same figure gives the same bytes.

    `scale`: the scale of the results, or several in words, "laptop and paper". It is stamped on the figure unless it is
    the paper's. A panel without data says so.
    """
    say_what_is_missing(figure)
    if scale != "paper":
        layout = figure.get_layout_engine()
        if isinstance(layout, ConstrainedLayoutEngine):
            layout.set(rect=(0, 0.035, 1, 0.965))
        said = f"{scale} scale, not the paper's" if scale in SCALES else f"{scale} scale"
        figure.text(0.995, 0.004, said, ha="right", va="bottom", fontsize=7, color="#AA3377")
    # savefig would draw a figure that has a layout engine twice for each file, and discard the first drawing.
    pdf = FigureCanvasPdf(figure)
    if layout := figure.get_layout_engine():
        layout.execute(figure)
    figure.set_layout_engine("none")  # both files have the same layout
    with atomic_path(folder / f"{stem}.pdf") as temporary:
        figure.dpi = mpl.rcParams["savefig.dpi"]
        pdf.print_pdf(temporary, metadata=UNDATED)
    with atomic_path(folder / f"{stem}.png") as temporary:
        figure.dpi = mpl.rcParams["savefig.dpi"]
        FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None})
    plt.close(figure)
