"""Fits to censored values, which are only known to lie above or below a bound, for example because a run ended."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import optimize, special


def power_law(
    factors: Mapping[str, Sequence[float]], times: Sequence[float], reached: Sequence[bool]
) -> dict[str, float]:
    """Fit the exponents a of `time = constant · Π factor^a` jointly; return them by factor, with "constant".

    `factors[name]`, `times` and `reached` are `[runs]`; factors and times are positive. Where `reached` is False the
    event had not happened by `times`: the time is right-censored. The length of a run cuts off long times, so dropping
    these would flatten the exponents. Instead the log-normal model is fitted by maximum likelihood (Tobin 1958, in
    Olsen's 1978 concave form). Without censoring this is the least-squares line through the logarithms. All values are
    NaN if the events that were reached cannot determine the exponents: too few, or a factor that never varies.
    """
    known = np.asarray(reached, dtype=bool)
    if not known.any():
        return dict.fromkeys([*factors, "constant"], np.nan)
    logs = np.column_stack([np.log(np.asarray(values, dtype=float)) for values in factors.values()])
    centre = logs.mean(axis=0)  # fit around the centre: elsewhere the constant would be far outside the data
    design = np.column_stack([logs - centre, np.ones(len(logs))])  # [runs, factors + 1]
    y = np.log(np.asarray(times, dtype=float))
    solution, _ = censored_line(design, y, np.where(known, 0, 1))
    solution[-1] = np.exp(solution[-1] - centre @ solution[:-1])
    return dict(zip([*factors, "constant"], map(float, solution), strict=True))


def power_laws(runs: pd.DataFrame, factors: Sequence[str], time: str) -> pd.DataFrame:
    """Fit `power_law` to the runs of each seed: `[seeds, (factors, "constant")]`.

    The columns of `runs` are `seed`, the factors, `time` and `reached`. Runs without a time are left out.
    """
    fits = {}
    for seed, rows in runs.groupby("seed"):
        known = rows.dropna(subset=time)
        fits[seed] = power_law({name: known[name] for name in factors}, known[time], known["reached"])
    return pd.DataFrame(fits, index=[*factors, "constant"], dtype=float).T


def censored_line(design: np.ndarray, y: np.ndarray, side: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit y = design @ coefficients + normal noise by maximum likelihood, where some y are only bounds.

    Returns the coefficients `[p]` and the standard deviation of the noise. `design` is `[n, p]`. `y` `[n]` is a value
    where `side` `[n]` is 0, a lower bound where it is 1, and an upper bound where it is −1. Without bounds this is
    least squares, and the deviation is corrected by √(n/(n − p)) as there. All is NaN if the values that are not bounds
    cannot determine the coefficients: there are no more than p, or their rank is lower.
    """
    reached, (n, parameters) = side == 0, design.shape
    if reached.sum() <= parameters or np.linalg.matrix_rank(design[reached]) < parameters:
        return np.full(parameters, np.nan), np.nan
    start, *_ = np.linalg.lstsq(design[reached], y[reached], rcond=None)
    spread, correction = float(np.std(y[reached] - design[reached] @ start)), np.sqrt(n / (n - parameters))
    if reached.all():
        return start, spread * correction

    def cost(theta: np.ndarray) -> tuple[float, np.ndarray]:
        # theta = (coefficients / σ, 1 / σ) makes the log-likelihood concave, so there is one optimum
        residual = theta[-1] * y - design @ theta[:-1]
        survival = special.log_ndtr(-side * residual)  # log probability of a value beyond the bound
        slope = np.where(reached, residual, side * np.exp(-(residual**2) / 2 - survival) / np.sqrt(2 * np.pi))
        value = np.where(reached, residual**2 / 2, -survival).sum() - reached.sum() * np.log(theta[-1])
        return value, np.append(-design.T @ slope, slope @ y - reached.sum() / theta[-1])

    spread = max(spread, 1e-2)
    # A logged step does not resolve σ below .001; without this limit 1 / σ of an exact fit would grow without end
    limits = [(None, None)] * len(start) + [(1e-3, 1e3)]
    begin = np.append(start, 1) / spread
    fit = optimize.minimize(cost, begin, jac=True, method="L-BFGS-B", bounds=limits, options={"maxiter": 2000})
    return fit.x[:-1] / fit.x[-1], correction / float(fit.x[-1])
