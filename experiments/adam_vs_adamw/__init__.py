"""Adam + L2 against AdamW: grids of η × λ, and the best λ over batch, data and epochs. (S0, S1; claims O1–O14)

Four optimisers, SGD and Adam each with the penalty in the gradient (`l2`) and with decay apart from it (`decoupled`),
under three schedules: an MLP on MNIST-1D and on handwritten digits, and S1's addition network, narrower. Settings and
their sources: config.yaml beside this file. Identities of single updates and S0's own classifier: compute.py.
"""

from weightdecay.finding import Finding

finding = Finding(__name__)
