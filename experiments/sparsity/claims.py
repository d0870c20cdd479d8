"""Claims L1-L10 on L1, L2 and Elastic Net, judged by the criteria of config.yaml.

Each quantity is one number per seed, with a 95 % interval over seeds. λ is chosen per seed and method on validation
data. Zero means exactly 0. A diverged run has no value, so quantities that need it are unknown.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from weightdecay.claims.judging import counts, judged, reported
from weightdecay.claims.model import Part
from weightdecay.results import Results
from weightdecay.statistics.estimates import (
    ACCURACY,
    DIFFERENCE,
    Estimate,
    digits_interval,
    every_seed,
    rank_correlation_interval,
    ratio_interval,
    ratio_of,
)
from weightdecay.statistics.measures import best_rows, diverged, select

from . import finding

KINDS = {  # the kinds of decay, by the names in the figures
    "none": "no decay",
    "decoupled": "decoupled L2",
    "l2": "L2",
    "l1": "L1, subgradient",
    "proximal_l1": "L1, proximal",
    "elastic_net": "Elastic Net, proximal",
}


def tuned(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """Return, by seed, the row of a method at the λ with the lowest validation loss."""
    return best_rows(table[table["method"] == method])


def digits(table: pd.DataFrame, method: str) -> Estimate:
    """Return to how many decimal places the weights agree with scikit-learn's, at each seed's worst λ."""
    return digits_interval(table[table["method"] == method], "disagreement")


def at_chosen(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return four tables with a row per seed: of proximal steps and of S2's update, at two choices of λ.

    "chosen" (proximal steps) and "update" (S2's update) have the λ that is best on validation data for proximal steps.
    "support" and "update_support" have the largest λ at which proximal steps keep all relevant weights. A seed without
    such a λ has no value there.
    """
    proximal, update = (table[table["method"] == method] for method in ("proximal", "subgradient"))
    chosen = tuned(table, "proximal")
    keeping = proximal[proximal["zero_relevant"] == 0].sort_values("penalty").groupby("seed").tail(1)
    support = keeping.set_index("seed").reindex(chosen.index)
    found = {"chosen": chosen, "support": support}
    for name, rows in (("update", chosen), ("update_support", support)):
        same = update.set_index(["seed", "penalty"]).reindex(pd.MultiIndex.from_arrays([rows.index, rows["penalty"]]))
        found[name] = same.reset_index("penalty")
    return found


@finding.claim("L1")
def exact_zeros(results: Results, *, zeros: float, support: float) -> tuple[list[Part], str]:
    """S2's updates set irrelevant weights to exactly 0; those of the penalty's minimiser are reported beside them."""
    at = at_chosen(results.tables["recovery"])
    share = {name: every_seed(rows["zero_irrelevant"], ACCURACY) for name, rows in at.items()}
    return [
        judged("Subgradient", "irrelevant weights 0, S2's update", share["update"], zeros),
        judged(
            "SubgradientSupport", "the same where the minimiser keeps all relevant", share["update_support"], support
        ),
        reported("Proximal", "irrelevant weights 0, proximal", share["chosen"]),
        reported(
            "Small",
            "irrelevant weights below .001, S2's update",
            every_seed(at["update"]["small_irrelevant"], ACCURACY),
        ),
        reported("Size", "size over ηλ where the minimiser is 0, S2's update", size_in_steps(at["update"])),
    ], ""


@finding.claim("L10")
def sparse_solution(results: Results, *, zeros: float, support: float) -> tuple[list[Part], str]:
    """The minimiser of the L1 penalty has irrelevant weights at exactly 0."""
    table = results.tables["recovery"]
    at = at_chosen(table)
    return [
        judged("Zeros", "irrelevant weights 0, proximal", every_seed(at["chosen"]["zero_irrelevant"], ACCURACY), zeros),
        judged(
            "Support",
            "the same where all relevant are kept",
            every_seed(at["support"]["zero_irrelevant"], ACCURACY),
            support,
        ),
        reported("Lambda", "λ chosen", ratio_interval(np.log(at["chosen"]["penalty"]))),
        reported("Digits", "decimals shared with scikit-learn, L1", digits(table, "proximal")),
        reported("NetDigits", "decimals shared with scikit-learn, Elastic Net", digits(table, "elastic_net")),
    ], ""


@finding.claim("L8")
def more_zeros(results: Results, *, together: float, more: float) -> tuple[list[Part], str]:
    """The larger λ, the more weights are 0, in linear models and in the network."""
    table = results.tables["recovery"]
    paths = {method: table[table["method"] == method] for method in ("proximal", "subgradient")}
    share = paths["proximal"].pivot(index="seed", columns="penalty", values="zero")
    network = select(results.runs, decay="proximal_l1", optimizer="adam")
    return [
        judged(
            "Linear",
            "rank correlation of λ and zeros, proximal",
            rank_correlation_interval(paths["proximal"], "penalty", "zero"),
            together,
        ),
        judged(
            "More",
            "zeros at the largest λ less those at the smallest",
            every_seed(share.iloc[:, -1] - share.iloc[:, 0], DIFFERENCE),
            more,
        ),
        judged(
            "Network",
            "network: rank correlation of λ and zeros",
            rank_correlation_interval(network, "weight_decay", "zero_weights"),
            together,
        ),
        reported(
            "Update",
            "zeros at the largest λ, S2's update",
            every_seed(paths["subgradient"].groupby("seed")["zero"].last(), ACCURACY),
        ),
    ], ""


def recall_and_precision(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return recall, the share of relevant features with a weight other than 0, and precision.

    Precision is the share of relevant features among those with a weight other than 0.
    """
    features = rows.filter(like="weight_").shape[1]
    kept = rows["relevant"] * (1 - rows["zero_relevant"])
    wrong = (features - rows["relevant"]) * (1 - rows["zero_irrelevant"])
    return 1 - rows["zero_relevant"], kept / (kept + wrong).where(kept + wrong > 0)


@finding.claim("L9")
def shows_support(results: Results, *, recall: float, precision: float) -> tuple[list[Part], str]:
    """The features whose weight is not 0 are the relevant ones."""
    at = at_chosen(results.tables["recovery"])
    found, right = recall_and_precision(at["chosen"])
    return [
        judged("Recall", "relevant features that have a weight", every_seed(found, ACCURACY), recall),
        judged("Precision", "features with a weight that are relevant", every_seed(right, ACCURACY), precision),
        reported(
            "Support",
            "the latter at the largest λ that keeps all relevant",
            every_seed(recall_and_precision(at["support"])[1], ACCURACY),
        ),
        reported("Update", "the latter, S2's update", every_seed(recall_and_precision(at["update"])[1], ACCURACY)),
        reported(
            "Inputs",
            "network: irrelevant inputs cut off, proximal L1",
            every_seed(chosen_runs(results.runs, "proximal_l1")["zero_inputs"], ACCURACY),
        ),
    ], ""


@finding.claim("L7")
def suits(results: Results, *, better: float) -> tuple[list[Part], str]:
    """L2 has the lower expected error where all features contribute, L1 where few do."""
    table = results.tables["contributions"]
    excess = np.log(table.pivot(index="seed", columns=["truth", "method"], values="excess"))
    kept = table.pivot(index="seed", columns=["truth", "method"], values="kept")
    dense, sparse = excess["dense"], excess["sparse"]
    return [
        judged(
            "Dense",
            "all contribute: error beyond noise, L2 over L1",
            ratio_interval(dense["l2"] - dense["l1"]),
            most=better,
        ),
        judged(
            "Sparse",
            "few relevant: error beyond noise, L1 over L2",
            ratio_interval(sparse["l1"] - sparse["l2"]),
            most=better,
        ),
        reported("KeptDense", "weights kept by L1, all contribute", every_seed(kept["dense", "l1"])),
        reported("KeptSparse", "weights kept by L1, few relevant", every_seed(kept["sparse", "l1"])),
    ], ""


def size_in_steps(rows: pd.DataFrame) -> Estimate:
    """Return how far from 0 S2's update leaves weights that should be 0, in units of its step ηλ (root mean square)."""
    return ratio_of(rows["size"], rows["step"] * rows["penalty"])


@finding.claim("L2")
def shrinks(results: Results, *, norm: float, zeros: float) -> tuple[list[Part], str]:
    """Ridge has smaller weights than least squares, and hardly any weight is 0."""
    table = results.tables["recovery"]
    chosen, free = tuned(table, "ridge"), tuned(table, "least_squares")
    return [
        judged(
            "Norm", "norm, ridge over least squares", ratio_of(chosen["norm"], free["norm"]), most=norm, strict=True
        ),
        judged("Zeros", "weights that are 0", every_seed(chosen["zero"], ACCURACY), most=zeros),
        reported("Small", "irrelevant weights below .001", every_seed(chosen["small_irrelevant"], ACCURACY)),
        reported("Digits", "decimals shared with scikit-learn", digits(table, "ridge")),
    ], ""


def by_method(table: pd.DataFrame, correlation: float) -> dict[str, pd.DataFrame]:
    """Return the rows of each method at one correlation, by seed."""
    rows = select(table, correlation=correlation)
    return {method: part.set_index("seed").sort_index() for method, part in rows.groupby("method")}


@finding.claim("L3")
def keeps_one(
    results: Results, *, correlation: float, kept: float, same: float, share: float
) -> tuple[list[Part], str]:
    """L1 keeps one feature of a correlated group, which may be any; L2 divides the weight among all."""
    table = results.tables["groups"]
    found = by_method(table, correlation)
    return [
        judged("Kept", "weights kept in a group, L1", every_seed(found["l1"]["kept"]), most=kept),
        judged("Same", "two samples agree on the largest, L1", every_seed(found["l1"]["same"], ACCURACY), most=same),
        judged(
            "Share", "share of the largest in its group, L2", every_seed(found["l2"]["share"], ACCURACY), most=share
        ),
        reported("ShareAbsolute", "share of the largest in its group, L1", every_seed(found["l1"]["share"], ACCURACY)),
        reported("KeptSquare", "weights kept in a group, L2", every_seed(found["l2"]["kept"])),
        reported("SameSquare", "two samples agree on the largest, L2", every_seed(found["l2"]["same"], ACCURACY)),
    ], f"groups of {int(table['members'].iloc[0])}"


@finding.claim("L4")
def stable(results: Results, *, correlation: float, ratio: float) -> tuple[list[Part], str]:
    """Under L1 the weights vary more from sample to sample than under L2."""
    table = results.tables["groups"]
    found, free = by_method(table, correlation), by_method(table, 0.0)

    def spread(rows: Mapping[str, pd.DataFrame]) -> Estimate:
        return ratio_of(rows["l1"]["spread"], rows["l2"]["spread"])

    return [
        judged("Ratio", "spread of the weights, L1 over L2", spread(found), ratio),
        reported("Uncorrelated", "the same without correlation", spread(free)),
        reported("Spread", "spread of the weights, L1", every_seed(found["l1"]["spread"])),
        reported("SpreadSquare", "spread of the weights, L2", every_seed(found["l2"]["spread"])),
    ], ""


@finding.claim("L5")
def elastic_net(results: Results, *, correlation: float, better: float) -> tuple[list[Part], str]:
    """Elastic Net has a lower expected error than L1 and than L2 where features ≫ samples."""
    table = results.tables["wide"]
    found, free = by_method(table, correlation), by_method(table, 0.0)

    def ratio(rows: Mapping[str, pd.DataFrame], other: str) -> Estimate:
        return ratio_of(rows["elastic_net"]["excess"], rows[other]["excess"])

    return [
        judged("Absolute", "error beyond noise, Elastic Net over L1", ratio(found, "l1"), most=better),
        judged("Square", "error beyond noise, Elastic Net over L2", ratio(found, "l2"), most=better),
        reported("UngroupedAbsolute", "without groups: Elastic Net over L1", ratio(free, "l1")),
        reported("UngroupedSquare", "without groups: Elastic Net over L2", ratio(free, "l2")),
        reported("KeptAbsolute", "weights kept, L1", every_seed(found["l1"]["kept"])),
        reported("Kept", "weights kept, Elastic Net", every_seed(found["elastic_net"]["kept"])),
    ], f"{int(table['features'].iloc[0])} features, {int(table['samples'].iloc[0])} samples"


def chosen_runs(runs: pd.DataFrame, decay: str, optimizer: str = "adam") -> pd.DataFrame:
    """Return, by seed, the run of a kind of decay with the lowest final validation loss; NaN if all diverged."""
    return best_rows(select(runs, decay=decay, optimizer=optimizer))


@finding.claim("L6")
def pruned_units(results: Results, *, pruned: float, none: float, loss: float) -> tuple[list[Part], str]:
    """L1 prunes hidden units, which then have no incoming or no outgoing weights; decoupled L2 does not."""
    runs = results.runs
    chosen = {decay: chosen_runs(runs, decay) for decay in KINDS}

    def share(decay: str, column: str = "zero_units") -> Estimate:
        return every_seed(chosen[decay][column], ACCURACY)

    def over_none(decay: str) -> Estimate:
        return ratio_of(chosen[decay]["test_loss"], chosen["none"]["test_loss"])

    return [
        judged("Proximal", "units pruned, proximal L1", share("proximal_l1"), pruned),
        judged("Subgradient", "units pruned, subgradient of L1", share("l1"), pruned),
        judged("Decoupled", "units pruned, decoupled L2", share("decoupled"), most=none),
        judged("Loss", "test loss, proximal L1 over no decay", over_none("proximal_l1"), most=loss),
        reported("SubgradientSmall", "units below .001, subgradient of L1", share("l1", "small_units")),
        reported("Net", "units pruned, Elastic Net", share("elastic_net")),
        reported("Coupled", "units pruned, L2 in the gradient", share("l2")),
        reported("Inputs", "irrelevant inputs cut off, proximal L1", share("proximal_l1", "zero_inputs")),
        reported("Weights", "first-layer weights 0, proximal L1", share("proximal_l1", "zero_weights")),
        reported("SubgradientLoss", "test loss, subgradient of L1 over no decay", over_none("l1")),
        reported("DecoupledLoss", "test loss, decoupled L2 over no decay", over_none("decoupled")),
        reported("Lambda", "λ chosen, proximal L1", ratio_interval(np.log(chosen["proximal_l1"]["weight_decay"]))),
        *under_sgd(runs),
    ], counts(len(runs), {"diverged": diverged(runs)})


def under_sgd(runs: pd.DataFrame) -> list[Part]:
    """Return parts that report how much L1 prunes under SGD with momentum, if that was run."""
    if not (runs["optimizer"] == "sgd").any():
        return []
    return [
        reported(name, f"{what}, SGD", every_seed(chosen_runs(runs, decay, "sgd")["zero_units"], ACCURACY))
        for name, what, decay in (
            ("Sgd", "units pruned, proximal L1", "proximal_l1"),
            ("SgdSubgradient", "units pruned, subgradient of L1", "l1"),
        )
    ]
