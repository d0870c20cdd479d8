"""Numbers that the compiled loops and the torch operations share."""

BATCH_NORM_MOMENTUM = 0.1  # of the running statistics, as torch.nn.BatchNorm1d's
EVALUATION_ROWS = 512  # examples measured at once
