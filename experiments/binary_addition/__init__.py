"""Binary addition: does weight decay make a network extrapolate? (S1, "A toy experiment"; claims A1–A12)

The network is trained on sums of 2- and 4-digit numbers, and tested on 3-digit numbers. It has two residual blocks of
width 256 and 290,080 parameters. The loss is the squared error on sigmoid outputs, and AdamW trains with eps 1e-3 and λ
from 0 to 1. Beside S1's sweep and S1's training curve at λ = 0.1 we have a control with λ = 0, a control with constant
norm, label noise, the delay at other η and λ, and S1's text read literally (digits as bits). config.yaml has the
protocol and its sources.
"""

from weightdecay.finding import Finding

finding = Finding(__name__)
