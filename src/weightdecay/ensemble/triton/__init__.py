"""Triton kernels, which do in one sweep through memory what takes torch many: a file for each layer or optimiser.

The file of the same name in `layers` or `optimizers` has the formulas as torch operations, for machines without Triton,
and the tests compare the two. Each program of a kernel works on a single replica and sums in a fixed order.
"""
