"""The findings: one folder each. See weightdecay.finding."""
