"""From results to what the paper says: statistics, claims, figures, tables. Never imports the training wing."""
