"""What the best λ depends on, and rules for finding it. (S0, sections 7 and 10; S1, S2, S3; claims T1–T17)

Adam with coupled or decoupled decay trains an MLP, or a residual network with BatchNorm, on MNIST-1D with clean labels.
We find the best λ for several sizes of the training set, rates of dropout and learning-rate schedules, with and without
decay of biases and normalisation, and by S0's grid search with cross-validation. config.yaml has the settings and their
sources.
"""

from weightdecay.finding import Finding

finding = Finding(__name__)
