"""Claim D17: does test loss rise at width 512? Claim D18: are S1's losses those of single runs, in any setting?"""

from weightdecay.claims.judging import counts, joined, judged, reported
from weightdecay.claims.model import Part
from weightdecay.claims.names import in_letters
from weightdecay.statistics.estimates import UNKNOWN, counted, proportion_interval, ratio_interval
from weightdecay.statistics.measures import diverged

from . import finding
from .curves import METRICS, POINTS, Measured, Setting


def name_of(setting: Setting) -> str:
    """Return the name of a setting's part."""
    return f"Noise{in_letters(setting.noise)}Decay{in_letters(setting.weight_decay)}"


@finding.claim("D17")
def bump(m: Measured, *, width: float, rise: float) -> tuple[list[Part], str]:
    """Test loss is higher at the width that S1 marks than at a smaller one, in the setting where it rises most."""
    marked = int(width)
    rises, singles = m.rises(marked), m.single_rises(marked)
    published = POINTS["test"][marked] / POINTS["test"][POINTS.index < marked].min()
    words = f"test loss at width {marked} over the lowest at a smaller width"
    single = f"share of single sweeps with a rise of at least S1's {published:.2f}"
    parts = [
        judged("Rise", f"{words}, where it is largest", ratio_interval(m.largest_rise(marked)), least=rise),
        *(reported(name_of(at), f"{words}, {at}", ratio_interval(logs)) for at, logs in rises.items()),
        reported("Single", single, proportion_interval(int((singles >= published).sum()), len(singles))),
    ]
    return parts, joined(
        "" if not rises else f"largest on average: {max(rises, key=lambda setting: rises[setting].mean())}",
        "" if marked in set(m.runs["width"]) else f"width {marked} was not run",
        counts(len(m.runs), {"diverged": diverged(m.runs)}),
    )


@finding.claim("D18")
def points_met(m: Measured, *, met: int, width: float, reading_error: float) -> tuple[list[Part], str]:
    """In some setting most of S1's losses lie where a single run would."""
    widths = len(POINTS.loc[: int(width)])
    points = widths * len(METRICS)
    found = {setting: m.points_met(setting, int(width), reading_error) for setting in m.final}
    known = {setting: number for setting, number in found.items() if number is not None}
    best = counted(max(known.values()), points) if known else UNKNOWN
    words = f"points met, of {points}"
    parts = [
        judged("Met", f"{words}, in the setting that meets most", best, least=met),
        *(reported(name_of(at), f"{words}, {at}", counted(number, points)) for at, number in known.items()),
    ]
    absent = len(found) - len(known)
    return parts, joined(
        f"most are met with {max(known, key=known.__getitem__)}" if known else "",
        f"{absent} of {len(found)} settings lack a loss at one of the {widths} widths" if absent else "",
        counts(len(m.runs), {"diverged": diverged(m.runs)}),
    )
