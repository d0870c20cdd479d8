"""BatchNorm with weight decay: does training collapse again and again, and why? (S1, its last section; claims B1–B12)

Two networks. S1's own, on binary addition: residual, BatchNorm with scale and shift, AdamW; what varies is BatchNorm's
eps. And that of Lobacheva et al. (2021), whose loss does not depend on the norm of its weights: BatchNorm without
affine, the last layer random and frozen, plain SGD, on handwritten digits and MNIST-1D; what varies is η, λ and eps.
Settings and their sources: config.yaml beside this file.
"""

from weightdecay.finding import Finding

finding = Finding(__name__)
