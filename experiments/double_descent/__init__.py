"""Double descent across model width, and what weight decay does to it. (S1, "The modern regime"; S0; S2; claims D1–D16)

There are two protocols on MNIST-1D. The small one has few training samples, one hidden layer, squared error, full-batch
Adam, and wrong labels as in Nakkiran et al. Its interpolation threshold, where there are as many parameters as the n K
numbers to fit, lies within the trained widths. The protocol of MNIST-1D's notebook has 4,000 samples, two hidden layers
or a 1-D CNN, cross-entropy, SGD with momentum, and noisy labels that are drawn anew from all classes. config.yaml has
the settings and their sources. compute.py solves a model without training.
"""

from weightdecay.finding import Finding

finding = Finding(__name__)
