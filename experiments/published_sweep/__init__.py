"""S1's sweep of λ on binary addition, point by point and at S1's own run length (claims A13–A15).

S1 publishes one run at each of fifteen λ. Here each λ has several new seeds, so that a published point can be compared
with what a single run of ours would give. Small λ are trained for 390,000 steps: decay needs 1/(ηλ) steps to act, and
the other finding on this network, binary_addition, stops earlier. config.yaml has the protocol and its sources.
"""

from weightdecay.finding import Finding

finding = Finding(__name__)
