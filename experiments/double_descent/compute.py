"""D9, D14: double descent without training. Random Fourier features and ridge regression, solved exactly in float64.

This is the model of Belkin et al. (2018): N random features, the least-squares solution of the smallest norm, and a
peak at N = n. It has the data set, the noise and the loss of the trained networks, so it shows what remains without
optimisation. The roughness of the fitted function is computed exactly too: the norm of its weights, and its gradient
with respect to the input.
"""

from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from weightdecay.closed_form import RandomFourierFeatures, ridge_path
from weightdecay.datasets.mnist1d import mnist1d

from . import finding

Count = Annotated[int, Field(ge=1)]


@finding.computation
def random_features(
    *,
    seeds: Count,
    train_size: Count,
    validation_size: Count,
    test_size: Count,
    label_noise: Annotated[float, Field(ge=0, le=1)],
    bandwidth: Annotated[float, Field(gt=0)],
    features: Annotated[list[Count], Field(min_length=1)],
    ridges: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=1)],
) -> pd.DataFrame:
    """Return one row for each seed, number of features and ridge: `<split>_loss` and `<split>_error` of every split.

    A seed draws data, noise and features. Losses are squared errors summed over the classes, as in the networks.
    `weight_norm` is the Frobenius norm of the weights. `squared_gradient` is the squared Frobenius norm of the Jacobian
    of the outputs with respect to the input, averaged over the test split: it says how strongly the function reacts to
    small changes.
    """
    rows = []
    for seed in range(seeds):
        splits = mnist1d(seed, train_size, validation_size, test_size, label_noise, "incorrect")
        arrays = {name: tuple(part.numpy().astype(np.float64) for part in split) for name, split in splits.items()}
        everything, ends = (
            np.concatenate([x for x, _ in arrays.values()]),
            np.cumsum([len(x) for x, _ in arrays.values()]),
        )
        for count in features:
            generator = np.random.default_rng([seed, 3, count])
            features_of = RandomFourierFeatures(everything.shape[1], count, bandwidth, generator)
            mapped = np.split(features_of(everything), ends[:-1])
            path = list(ridge_path(mapped[0], arrays["train"][1], ridges))
            gradients = features_of.squared_gradients(arrays["test"][0], path)
            for ridge, weights, gradient in zip(ridges, path, gradients, strict=True):
                row: dict[str, float] = {"seed": seed, "train_size": train_size, "features": count, "ridge": ridge}
                row |= {"weight_norm": float(np.linalg.norm(weights)), "squared_gradient": gradient}
                for (name, (_, targets)), x in zip(arrays.items(), mapped, strict=True):
                    outputs = x @ weights
                    row[f"{name}_loss"] = ((outputs - targets) ** 2).sum(1).mean()
                    row[f"{name}_error"] = (outputs.argmax(1) != targets.argmax(1)).mean()
                rows.append(row)
    return pd.DataFrame(rows)
