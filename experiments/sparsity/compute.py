"""L1-L5: linear models under L1, L2 and Elastic Net."""
