"""Statistics of the claims: estimates and their intervals, shapes of curves, events, basins."""
