"""Sparsity in a network: which decay prunes hidden units that are not needed. (S0 §9, S2; claims L1–L10)

The target is made of a few hidden units on a few of the inputs, so that most of the network's units and most of its
inputs are irrelevant. Settings: config.yaml beside this file. Linear models: compute.py.
"""

from weightdecay.finding import Finding

finding = Finding(__name__)
