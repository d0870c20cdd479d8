"""Adam + L2 against AdamW: grids of η × λ, and the best λ over batch, data and epochs. (S0, S1; claims O1–O14)

There are four optimisers, SGD and Adam, each with the penalty in the gradient (`l2`) or with decay outside of it
(`decoupled`), and three schedules. They train an MLP on MNIST-1D and on handwritten digits, and a narrower version of
S1's addition network. config.yaml has the settings and their sources. compute.py studies single updates, and trains
S0's own classifier.
"""

from weightdecay.finding import Finding

finding = Finding(__name__)
