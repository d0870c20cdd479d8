"""Binary addition: does weight decay make a network extrapolate? (S1, "A toy experiment"; claims A1–A12)

Trained on sums of 2- and 4-digit numbers, tested on 3-digit ones. Two residual blocks of width 256, 290,080 parameters,
squared error on sigmoid outputs, AdamW with eps 1e-3, λ from 0 to 1. Beside S1's sweep and its training curve at
λ = 0.1: the λ = 0 control, a control held at constant norm, label noise, the delay under other η and λ, and S1's text
read literally (digits as bits). Protocol and its sources: config.yaml beside this file.
"""

from weightdecay.finding import Finding

finding = Finding(__name__)
