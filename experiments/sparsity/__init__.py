"""Sparsity: which kind of decay makes weights zero, and prunes hidden units that are not needed. (S0 §9, S2; L1–L10)

In the network, the target is made by a few hidden units from a few of the inputs, so most of the network's units and
inputs are irrelevant. config.yaml has the settings. compute.py has the linear models.
"""

from weightdecay.finding import Finding

finding = Finding(__name__)
