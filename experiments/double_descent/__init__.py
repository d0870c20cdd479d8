"""Double descent across model width, and what weight decay does to it. (S1, "The modern regime"; S0; S2; claims D1–D16)

Two protocols on MNIST-1D. The small one: few training samples, one hidden layer, squared error, full-batch Adam, wrong
labels as Nakkiran et al. draw them; its interpolation threshold, as many parameters as there are n K numbers to fit,
lies within the widths that are trained. The notebook's: 4,000 samples, two hidden layers or a 1-D CNN, cross-entropy,
SGD with momentum, labels drawn anew. Settings and their sources: config.yaml beside this file. The exact check without
training: compute.py.
"""

from weightdecay.finding import Finding

finding = Finding(__name__)
