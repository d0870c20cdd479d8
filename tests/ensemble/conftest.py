"""Where there is no GPU, Triton's kernels are interpreted; Triton must hear of it before anything imports it."""

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
