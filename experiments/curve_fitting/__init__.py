"""Curve fitting: S3's example of decay, a line through ten noisy points. (claims C1–C14)

We repeat S3's program exactly (1-200-200-200-1, SGD with momentum, 2,000 steps), over seeds and over λ, at larger
learning rates, and with other losses, with and without an outlier. We also repeat S2's program, 10-5-1 on pure noise.
config.yaml has the settings and their sources. compute.py computes what needs no training, and event_files.py writes
files for TensorBoard.
"""

from weightdecay.finding import Finding

finding = Finding(__name__)
