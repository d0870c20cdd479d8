"""What a GPU does in one sweep through memory instead of many, compiled by Triton: a file for each layer or optimiser.

The same formulas stand as torch operations in the file of that name in `layers` or `optimizers`, for machines where
Triton is missing, and the tests hold one to the other. Every replica's numbers come from programs of its own, which sum
in a fixed order.
"""
