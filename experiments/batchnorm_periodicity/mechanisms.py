"""B6, B7: which of two mechanisms predicts a collapse, and whether collapses happen with the norm held."""

import numpy as np
import pandas as pd

from weightdecay.claims.judging import counts, judged, reported
from weightdecay.claims.model import Part
from weightdecay.statistics.estimates import ACCURACY, DIFFERENCE, Estimate, every_seed, ratio_interval, ratio_of
from weightdecay.statistics.measures import TRAIN, diverged, select

from . import finding
from .records import (
    COUNT,
    PREDICTORS,
    Records,
    at_events,
    exponent,
    fallen,
    foretelling,
    per_seed,
    spreads,
    variance_over_eps,
)


@finding.claim("B6")
def mechanism(records: Records, *, difference: float, ratio: float, high: float, low: float) -> tuple[list[Part], str]:
    """Compare how well a small divisor and a large effective learning rate predict the next event.

    In the addition network eps varies, and the divisor contains eps. So two more values of Harrell's C are reported
    there: over those eps at which training collapses, and with eps alone as predictor.
    """
    grid, eps = records.sweep("grid"), records.sweep("addition")
    starts = {run: records.collapses(run, high, low)["start"] for run in eps["run"]}
    fitting = eps[eps["run"].map(lambda run: records.fits(run, high)).astype(bool)]
    collapsing = eps[eps["run"].map(lambda run: len(starts[run]) > 0).astype(bool)]
    rates = records.sweep("addition_rates")
    where = {
        "": ("scale-invariant", grid),
        "Addition": ("addition", fitting),
        "Within": ("addition, the eps that collapse", collapsing),
        **({"Rates": ("addition, over η", pd.concat([rates, select(eps, batch_norm_eps=1e-5)]))} if len(rates) else {}),
    }
    found = {name: foretelling(records, runs, high, low) for name, (_, runs) in where.items()}
    better = {
        name: (
            f"{name}Foretells",
            f"Harrell's C, small divisor less large effective rate, {words}",
            every_seed(found[name]["divisor"] - found[name]["rate"], DIFFERENCE),
        )
        for name, (words, _) in where.items()
    }
    spread = spreads(records, grid)
    parts = [judged(*better[name], difference) for name in ("", "Addition")]
    parts.append(
        judged(
            "Common",
            "spread between settings at the jump, log divisor over log effective rate",
            ratio_of(spread["divisor"], spread["rate"]),
            most=ratio,
        )
    )
    parts += [reported(*better[name]) for name in better if name not in ("", "Addition")]
    for name in ("", "Addition", "Within"):
        for column, what in PREDICTORS.items():
            if name or column != "eps":
                words, estimate = where[name][0], every_seed(found[name][column], ACCURACY)
                parts.append(reported(f"{name}{column.title()}", f"Harrell's C, {what}, {words}", estimate))
    for value, runs in collapsing.groupby("batch_norm_eps"):
        relative = per_seed(runs, lambda run: variance_over_eps(records, run, starts[run]))
        label = f"addition, smallest variance over eps at a collapse, eps {value:g}"
        parts.append(reported(f"Variance{exponent(value)}", label, ratio_interval(np.log(relative))))
    default = per_seed(select(eps, batch_norm_eps=1e-5), lambda run: fallen(records, run, high, low))
    label = "addition, smallest variance at the first collapse over its median since fitting, eps 1e-05"
    parts.append(reported("Fall", label, ratio_interval(np.log(default))))
    jumps = {run: records.destabilisations(run)["start"] for run in grid["run"]}
    relative = per_seed(grid, lambda run: variance_over_eps(records, run, jumps[run]), skip=True)
    parts.append(
        reported("Variance", "scale-invariant, smallest variance over eps at a jump", ratio_interval(np.log(relative)))
    )
    return parts, counts(len(eps), {"of addition never fit, and are left out": len(eps) - len(fitting)})


@finding.claim("B7")
def held_norm(records: Records, *, count: float, high: float, low: float) -> tuple[list[Part], str]:
    """Count collapses with the norm held, and with a free norm in the same settings."""
    held, above = records.sweep("held"), records.sweep("held_above")
    settings = held[["learning_rate", "weight_decay"]].drop_duplicates()
    free = records.sweep("grid").merge(settings)

    def later(run: str) -> float:
        found = records.collapses(run, high, low)
        return records.count(run, found[found["start"] > records.tau(run)], TRAIN)

    def relative_rate(runs: pd.DataFrame) -> Estimate:
        rates = per_seed(runs, lambda run: np.log(records.effective_rate(run).median()))
        at_jumps = per_seed(free, lambda run: np.log(at_events(records, run, records.effective_rate(run))), skip=True)
        return ratio_interval(rates - at_jumps)

    def loss(runs: pd.DataFrame) -> Estimate:
        def final(run: str) -> float:
            return np.log(records.curve(run, "train_loss_batch").loc[records.tau(run) :].median())

        return ratio_interval(per_seed(runs, final))

    return [
        judged("Held", "collapses after the first τ, norm held", every_seed(per_seed(held, later), COUNT), most=0.0),
        judged("Free", "the same, norm free", every_seed(per_seed(free, later), COUNT), count),
        reported(
            "FreeJumps",
            "destabilisations, norm free",
            every_seed(per_seed(free, lambda run: records.count(run, records.destabilisations(run))), COUNT),
        ),
        reported("Rate", "effective learning rate while held over that at a jump", relative_rate(held)),
        reported("Loss", "training loss while held, median after the first τ", loss(held)),
        reported("AboveRate", "held above: effective learning rate over that at a jump", relative_rate(above)),
        reported("AboveLoss", "held above: training loss", loss(above)),
    ], counts(len(held) + len(free), {"diverged": diverged(held) + diverged(free)})
