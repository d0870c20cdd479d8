"""The arithmetic of one network's training step on a CPU, compiled by Numba: layers, losses, optimisers.

Activations are `[features, B]`, the batch last: sums over the batch run along memory, a softmax over ten classes is ten
long rows, and both operands of a product stand as the BLAS wants them. At 40 inputs, 4 outputs and batch 128 it then
reaches 60 GFLOP/s on a core of a Zen 4 EPYC, where torch's stacked product of `[B, features]` reaches 17; from width 64
on it stays near the peak. The products are SciPy's BLAS, called from compiled code.

The same formulas stand as torch operations in `layers`, `losses` and `optimizers`, for GPUs; the tests hold one to the
other, and both to autograd and `torch.optim`.
"""

import math

import numpy as np
from numba import float32
from numba.extending import overload

from weightdecay.ensemble.compiler import compiled
from weightdecay.ensemble.constants import (
    BATCH_NORM_MOMENTUM,
    DROPOUT_LEVELS,
    PHILOX_MULTIPLIERS,
    PHILOX_ROUNDS,
    PHILOX_WEYL,
    WORD,
)

# 2ⁿ·eᶠ with n = round(x / ln 2), and eᶠ = 1 + f + f²·(a polynomial): Cephes' expf, whose constants these are.
LOG2_E, LN2_HIGH, LN2_LOW = np.float32(1.44269504088896341), np.float32(0.693359375), np.float32(-2.12194440e-4)
COEFFICIENTS = tuple(
    np.float32(c) for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)
)
SMALLEST, LARGEST = np.float32(-87.33), np.float32(88.37)  # beyond them the result is what it is there
# Beside a signed integer Numba would make a float of an unsigned one.
MULTIPLIERS, WEYL = tuple(map(np.uint64, PHILOX_MULTIPLIERS)), tuple(map(np.uint64, PHILOX_WEYL))
MASK, WORD_BITS, LEVEL_BITS = np.uint64(WORD), np.uint64(32), np.uint64(8)
ONE, HALF, BIAS, MANTISSA = np.float32(1), np.float32(0.5), np.int32(127), np.int32(23)


def exponential(x):
    """eˣ of one number. In float32 a loop over it becomes vector code, six times as fast as the C library's `expf`."""
    return math.exp(x)


@overload(exponential, jit_options={"error_model": "numpy", "fastmath": {"contract"}})
def _exponential(x):
    if x != float32:
        return lambda x: math.exp(x)

    def vectorised(x):
        x = SMALLEST if x < SMALLEST else x  # NaN fails both comparisons, and stays
        x = LARGEST if x > LARGEST else x
        n = np.floor(x * LOG2_E + HALF)
        f = (x - n * LN2_HIGH) - n * LN2_LOW
        a, b, c, d, e, g = COEFFICIENTS
        power = (((((a * f + b) * f + c) * f + d) * f + e) * f + g) * (f * f) + f + ONE
        return power * np.int32((np.int32(n) + BIAS) << MANTISSA).view(np.float32)

    return vectorised


@compiled
def total_of(row):
    """Σ over one row of memory."""
    total = row.dtype.type(0)
    for i in range(row.size):
        total += row[i]
    return total


@compiled
def linear_forward(weight, bias, x, y):
    """y = W x + b: `[O, I]`, `[O]` (or `[0]`: no bias), `[I, B]`, `[O, B]`."""
    np.dot(weight, x, y)
    for o in range(bias.size):
        shift, row = bias[o], y[o]
        for b in range(row.size):
            row[b] += shift


@compiled
def linear_backward(x, gradient, weight_gradient, bias_gradient):
    """The parameters' gradients; the input's is `np.dot(weight.T, gradient)`."""
    np.dot(gradient, x.T, weight_gradient)
    for o in range(bias_gradient.size):
        bias_gradient[o] = total_of(gradient[o])


@compiled
def convolution_forward(weight, bias, x, y, stride):
    """1-D convolution: `[O, kernel · C]`, `[O]`, padded input `[length · C, B]`, `[positions · O, B]`.

    With the batch last a window is one block of memory, so that nothing is copied: one product a position.
    """
    outputs, window = weight.shape
    for start in range(y.shape[0] // outputs):
        first = start * stride
        linear_forward(weight, bias, x[first : first + window], y[start * outputs : (start + 1) * outputs])


@compiled
def convolution_backward(weight, x, gradient, weight_gradient, bias_gradient, input_gradient, stride):
    """The parameters' gradients, and the padded input's unless `input_gradient` is empty."""
    outputs, window = weight.shape
    part, bias_part = np.empty_like(weight_gradient), np.empty_like(bias_gradient)
    weight_gradient[:] = 0
    bias_gradient[:] = 0
    input_gradient[:] = 0
    for start in range(gradient.shape[0] // outputs):
        first = start * stride
        upstream = gradient[start * outputs : (start + 1) * outputs]
        linear_backward(x[first : first + window], upstream, part, bias_part)
        weight_gradient += part
        bias_gradient += bias_part
        if input_gradient.size:
            input_gradient[first : first + window] += np.dot(weight.T, upstream)


@compiled
def batch_norm_forward(x, weight, bias, eps, running_mean, running_variance, inverse_std, y):
    """`x` `[P · H, B]`, H features at P positions, becomes x − mean, over positions and batch; `y`, alike, and
    `inverse_std` `[H]` are written, running statistics updated. Rows are taken by number: iterating over
    `x[h::features]` takes four times as long.
    """
    number, features = x.dtype.type, inverse_std.size
    one, count, rate = number(1), number(x.size // features), number(BATCH_NORM_MOMENTUM)
    for h in range(features):
        total = square = number(0)
        for p in range(h, x.shape[0], features):
            total += total_of(x[p])
        mean = total / count
        for p in range(h, x.shape[0], features):
            row = x[p]
            for b in range(row.size):
                centred = row[b] - mean
                row[b] = centred
                square += centred * centred
        inverse_std[h] = one / math.sqrt(square / count + eps)
        scale, shift = weight[h] * inverse_std[h], bias[h]
        for p in range(h, x.shape[0], features):
            row, out = x[p], y[p]
            for b in range(row.size):
                out[b] = row[b] * scale + shift
        running_mean[h] += rate * (mean - running_mean[h])
        running_variance[h] += rate * (square / (count - one) - running_variance[h])


@compiled
def batch_norm_evaluation(x, weight, bias, eps, running_mean, running_variance, y):
    """`y` `[P · H, B]` from `x` by the running statistics `[H]`."""
    for p in range(x.shape[0]):
        row, out, h = x[p], y[p], p % running_mean.size
        scale = weight[h] / math.sqrt(running_variance[h] + eps)
        shift = bias[h] - running_mean[h] * scale
        for b in range(row.size):
            out[b] = row[b] * scale + shift


@compiled
def batch_norm_backward(gradient, centred, weight, inverse_std, weight_gradient, bias_gradient, input_gradient):
    """dx = γ/σ · (dy − mean(dy) − x̂ · mean(dy·x̂)), with x̂ = centred/σ never formed; `[P · H, B]` and `[H]`."""
    number, features = centred.dtype.type, inverse_std.size
    count = number(centred.size // features)
    for h in range(features):
        total = product = number(0)
        for p in range(h, centred.shape[0], features):
            upstream, row = gradient[p], centred[p]
            for b in range(row.size):
                total += upstream[b]
                product += upstream[b] * row[b]
        inverse = inverse_std[h]
        if bias_gradient.size:
            bias_gradient[h], weight_gradient[h] = total, product * inverse
        scale = weight[h] * inverse
        shift, slope = scale * total / count, scale * product * inverse * inverse / count
        for p in range(h, centred.shape[0], features):
            upstream, row, out = gradient[p], centred[p], input_gradient[p]
            for b in range(row.size):
                out[b] = upstream[b] * scale - shift - row[b] * slope


@compiled
def relu_forward(x):
    """max(x, 0) in place, any shape flat."""
    zero = x.dtype.type(0)
    for i in range(x.size):
        x[i] = zero if x[i] < zero else x[i]  # NaN stays


@compiled
def relu_backward(y, gradient):
    """Zero in place where the output was zero."""
    zero = y.dtype.type(0)
    for i in range(y.size):
        gradient[i] = gradient[i] if y[i] > zero else zero


@compiled
def dropout_factors(words, step, layer, factors):
    """Write `factors` `[H, B]`, H a multiple of four: 0 or 1/(1 − p), see `dropout`; `words` `[3]` are the run's."""
    number = factors.dtype.type
    dropped = words[2]
    zero, scale = number(0), number(1) / (number(DROPOUT_LEVELS - np.int64(dropped)) / number(DROPOUT_LEVELS))
    for group in range(factors.shape[0] // 4):
        rows = factors[4 * group : 4 * group + 4]
        for example in range(factors.shape[1]):
            a, b, c, d = np.uint64(example), np.uint64(group), np.uint64(step), np.uint64(layer)
            low, high = words[0], words[1]
            for _ in range(PHILOX_ROUNDS):
                first, second = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
                a, b = (second >> WORD_BITS) ^ b ^ low, second & MASK
                c, d = (first >> WORD_BITS) ^ d ^ high, first & MASK
                low, high = (low + WEYL[0]) & MASK, (high + WEYL[1]) & MASK
            rows[0, example] = zero if (a >> LEVEL_BITS) < dropped else scale
            rows[1, example] = zero if (b >> LEVEL_BITS) < dropped else scale
            rows[2, example] = zero if (c >> LEVEL_BITS) < dropped else scale
            rows[3, example] = zero if (d >> LEVEL_BITS) < dropped else scale


@compiled
def sigmoid_squared_error(logits, targets, gradient):
    """Mean of (σ(z) − t)² over batch and bits, `[K, B]`; the number of examples whose bits are all right; ∂loss/∂z."""
    number = logits.dtype.type
    one, two, half, count = number(1), number(2), number(0.5), number(logits.size)
    right = np.ones(logits.shape[1], np.bool_)
    total = number(0)
    for k in range(logits.shape[0]):
        for b in range(right.size):
            probability = one / (one + exponential(-logits[k, b]))
            error = probability - targets[k, b]
            total += error * error
            right[b] &= abs(error) < half
            gradient[k, b] = error * (two / count) * (probability * (one - probability))
    return total / count, right.sum()


@compiled
def squared_error(outputs, targets, gradient):
    """Mean over the batch of Σ_k (y_k − t_k)²; examples whose largest output, no tie, is the target's class."""
    number = outputs.dtype.type
    two, batch, total = number(2), number(outputs.shape[1]), number(0)
    largest, target, tied = outputs[0].copy(), np.zeros_like(outputs[0]), np.zeros(outputs.shape[1], np.int32)
    for k in range(outputs.shape[0]):
        for b in range(largest.size):
            error = outputs[k, b] - targets[k, b]
            total += error * error
            gradient[k, b] = error * (two / batch)
            largest[b] = max(largest[b], outputs[k, b])
            target[b] += outputs[k, b] * targets[k, b]
    for k in range(outputs.shape[0]):
        for b in range(largest.size):
            tied[b] += outputs[k, b] == largest[b]
    return total / batch, ((largest == target) & (tied == 1)).sum()


@compiled
def cross_entropy(logits, targets, gradient):
    """Mean over the batch of −log softmax at the one-hot target's class; correct examples; ∂loss/∂z, all `[K, B]`."""
    number = logits.dtype.type
    classes, batch, total = logits.shape[0], number(logits.shape[1]), number(0)
    largest = logits[0].copy()
    for k in range(1, classes):
        for b in range(largest.size):
            largest[b] = max(largest[b], logits[k, b])
    exponentials, target, tied = np.zeros_like(largest), np.zeros_like(largest), np.zeros(largest.size, np.int32)
    for k in range(classes):
        for b in range(largest.size):
            z = logits[k, b] - largest[b]
            target[b] += z * targets[k, b]
            tied[b] += z == 0
            power = exponential(z)
            gradient[k, b] = power
            exponentials[b] += power
    for b in range(largest.size):
        total += math.log(exponentials[b]) - target[b]
    for k in range(classes):
        for b in range(largest.size):
            gradient[k, b] = (gradient[k, b] / exponentials[b] - targets[k, b]) / batch
    return total / batch, ((target == 0) & (tied == 1)).sum()


@compiled
def absolute_error(outputs, targets, gradient):
    """Mean over the batch of Σ_k |y_k − t_k|; no example is right or wrong."""
    number = outputs.dtype.type
    batch, total = number(outputs.shape[1]), number(0)
    for k in range(outputs.shape[0]):
        for b in range(outputs.shape[1]):
            error = outputs[k, b] - targets[k, b]
            total += abs(error)
            gradient[k, b] = np.sign(error) / batch
    return total / batch, 0


@compiled
def smooth_l1(outputs, targets, gradient):
    """Mean over the batch of Σ_k e²/2 where |e| < 1, |e| − 1/2 elsewhere; no example is right or wrong."""
    number = outputs.dtype.type
    one, half, batch, total = number(1), number(0.5), number(outputs.shape[1]), number(0)
    for k in range(outputs.shape[0]):
        for b in range(outputs.shape[1]):
            error = outputs[k, b] - targets[k, b]
            slope = clamped(error, one)
            total += slope * (error - half * slope)
            gradient[k, b] = slope / batch
    return total / batch, 0


@compiled
def clamped(x, limit):
    """The nearest number of [−limit, limit]; NaN stays."""
    return limit if x > limit else -limit if x < -limit else x


@compiled
def with_sign(weights, gradients, l1):
    """g + l1·sign(w) as a new array: the gradients are kept without penalty."""
    penalised = np.empty_like(gradients)
    for i in range(weights.size):
        penalised[i] = gradients[i] + l1 * np.sign(weights[i])
    return penalised


@compiled
def soft_threshold(weights, threshold):
    """w ← sign(w)·max(|w| − threshold, 0) in place: exactly 0 up to the threshold."""
    for i in range(weights.size):
        weights[i] -= clamped(weights[i], threshold)


@compiled
def sgd(parameters, gradients, momentum_buffer, l2, kept, rate, momentum):
    """w ← kept·w − rate·b with b ← momentum·b + g + l2·w; `[P]` each, in place."""
    for i in range(parameters.size):
        w = parameters[i]
        b = momentum * momentum_buffer[i] + (gradients[i] + l2 * w)
        momentum_buffer[i] = b
        parameters[i] = w * kept - rate * b


@compiled
def adam(parameters, gradients, first, second, l2, kept, rate, beta1, rest1, beta2, rest2, correction, eps):
    """One step of Adam, `[P]` each, in place.

    `l2` enters the gradient, `kept` = 1 − ηλ multiplies the weights; `rest` = 1 − β, `rate` = η / (1 − β₁ᵗ),
    `correction` = 1 / √(1 − β₂ᵗ).
    """
    for i in range(parameters.size):
        gradient = gradients[i] + l2 * parameters[i]
        m = beta1 * first[i] + rest1 * gradient
        v = beta2 * second[i] + rest2 * (gradient * gradient)
        first[i], second[i] = m, v
        parameters[i] = parameters[i] * kept - rate * m / (math.sqrt(v) * correction + eps)
