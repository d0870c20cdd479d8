"""Numbers that the compiled loops and the torch operations share."""

BATCH_NORM_MOMENTUM = 0.1  # of the running statistics, as torch.nn.BatchNorm1d's
EVALUATION_ROWS = 320  # examples measured at once; 512 are 2,048 bytes, all in two sets of a CPU's first cache

# Philox 4×32-10's own (Salmon et al. 2011)
PHILOX_MULTIPLIERS, PHILOX_WEYL, PHILOX_ROUNDS = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85), 10
WORD = 0xFFFFFFFF  # a word's 32 bits
DROPOUT_LEVELS = 2**24  # of a rate of dropout
