"""Curve fitting: S3's example of decay, a line through ten noisy points. (claims C1–C14)

S3's program exactly (1-200-200-200-1, SGD with momentum, 2,000 steps), over seeds and over λ; at larger learning rates;
with other losses, with and without an outlier. And S2's program: 10-5-1 on pure noise. Settings and their sources:
config.yaml beside this file. What needs no training: compute.py. For TensorBoard: event_files.py.
"""

from weightdecay.finding import Finding

finding = Finding(__name__)
