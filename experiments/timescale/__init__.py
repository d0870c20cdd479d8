"""Does a network generalise when the norm of its weights has fallen to a certain value? (claims X1 and X2)

Decay alone acts within τ = 1/(ηλ) steps, but the step at which the addition network generalises does not go as τ: see
claim A10. The runs of binary_addition suggest another law. Test accuracy passes one half at nearly the same norm of the
weights whatever λ is, so that the delay is the time that the norm needs to fall there: a first passage. Here the law is
put to the test on seeds that nobody had looked at, and as a prediction.
"""

from weightdecay.finding import Finding

finding = Finding(__name__)
