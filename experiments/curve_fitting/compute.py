"""C5-C8: what needs no training loop. Polynomials and ridge, its constrained form, lines under three losses."""
