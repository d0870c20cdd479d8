"""BatchNorm with weight decay: does training collapse again and again, and why? (S1, its last section; claims B1–B12)

There are two networks. S1's own network learns binary addition: it is residual, with scale and shift in BatchNorm, and
trained by AdamW. Here BatchNorm's eps varies. In the network of Lobacheva et al. (2021) the loss does not depend on the
norm of the weights: BatchNorm has no scale and shift, the last layer is random and frozen, and plain SGD trains it on
handwritten digits and MNIST-1D. Here η, λ and eps vary. config.yaml has the settings and their sources.
"""

from weightdecay.finding import Finding

finding = Finding(__name__)
