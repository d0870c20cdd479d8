"""S1's sweep of widths on binary addition: does any setting show its bump at width 512? (claims D17 and D18).

S1's repository has a figure of 2023, loss against width, one run at each width. Its test loss falls up to width 256, is
higher at 512, which S1 marks as the interpolation threshold, and falls again. Neither the label noise nor λ nor the
number of steps is recorded. So we train nine settings, of three shares of noise and three λ, over several seeds.
"""

from weightdecay.finding import Finding

finding = Finding(__name__)
