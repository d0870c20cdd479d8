"""What the best λ depends on, and rules for finding it. (S0, sections 7 and 10; S1, S2, S3; claims T1–T17)

MNIST-1D with clean labels; an MLP, or a residual network with BatchNorm; Adam with coupled or decoupled decay. The best
λ is found for several sizes of the training set, rates of dropout and learning-rate schedules, with biases and
normalisation left out of decay or not, and by S0's grid search with cross-validation. Settings and their sources:
config.yaml beside this file.
"""

from weightdecay.finding import Finding

finding = Finding(__name__)
