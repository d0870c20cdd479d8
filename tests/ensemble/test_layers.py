"""Hand-written backward passes against numerical derivatives in float64, forward ones against PyTorch's layers.

Against autograd they are held by test_reference.py, over 100 steps.
"""

import pytest
import torch

from weightdecay.ensemble.layer import EVALUATION, Moment
from weightdecay.ensemble.layers import BatchNorm, Conv1d, Layer, Linear, ReLU, Residual, Sequential
from weightdecay.ensemble.networks.cnn import cnn
from weightdecay.ensemble.networks.mlp import mlp
from weightdecay.ensemble.networks.residual_mlp import residual_mlp
from weightdecay.ensemble.networks.scale_invariant_cnn import scale_invariant_cnn
from weightdecay.ensemble.networks.scale_invariant_mlp import scale_invariant_mlp
from weightdecay.ensemble.stack import Stack

REPLICAS, BATCH, FEATURES = 3, 7, 5
TRAINING = Moment(True, 0, None)
EPS = torch.tensor([1e-5, 1e-2, 0.3])
LAYERS = {
    "linear": lambda: Linear(FEATURES, 4),
    "batch norm": lambda: BatchNorm(FEATURES, EPS),
    "relu": lambda: Sequential(Linear(FEATURES, 4), ReLU()),
    "residual": lambda: Residual(Sequential(Linear(FEATURES, 6), ReLU(), Linear(6, FEATURES))),
    "convolution": lambda: Conv1d(1, 4, 3, 2, 1),
    "mlp": lambda: mlp(FEATURES, 4, 6, 2),
    "cnn": lambda: cnn(FEATURES, 4, 3),
    "batch norm over positions": lambda: Sequential(Conv1d(1, 4, 3, 1, 1, bias=False), BatchNorm(4, EPS)),
    "scale-invariant cnn": lambda: scale_invariant_cnn(FEATURES, 4, 3, EPS),
    "scale-invariant": lambda: scale_invariant_mlp(FEATURES, 4, 6, 2, EPS),
    "the whole network": lambda: residual_mlp(FEATURES, 4, 6, 2, EPS),
    "the whole network without batch norm": lambda: residual_mlp(FEATURES, 4, 6, 2, None),
}


def stack_of(layer: Layer) -> Stack:
    """Float64 replicas with parameters that are nowhere special."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(REPLICAS)]
    stack = Stack(layer, generators, torch.float64, torch.device("cpu"))
    stack.parameters.add_(0.1 * torch.randn(stack.parameters.shape, dtype=torch.float64))
    return stack


def parameters_of(stack: Stack) -> int:
    """How many one network has, without padding."""
    return sum(tensor[0].numel() for tensor in stack.tensors)


@pytest.mark.parametrize("name", LAYERS)
def test_backward_equals_the_numerical_derivative(name):
    torch.manual_seed(0)
    layer = LAYERS[name]()
    stack = stack_of(layer)
    x = torch.randn(REPLICAS, BATCH, FEATURES, dtype=torch.float64)
    weights = torch.randn_like(layer.forward(x.clone(), TRAINING))

    def scalar(parameters: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """Σ weights · output."""
        kept = stack.parameters.clone()
        stack.parameters.copy_(parameters)
        value = (weights * layer.forward(inputs.clone(), TRAINING)).sum()
        stack.parameters.copy_(kept)
        return value

    layer.forward(x.clone(), TRAINING)
    input_gradient = layer.backward(weights.clone())
    step = 1e-6
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):  # directional derivatives, central differences
        direction = torch.randn(stack.parameters.shape, generator=generator, dtype=torch.float64)
        up, down = (scalar(stack.parameters + sign * step * direction, x) for sign in (1, -1))
        numerical = (up - down) / (2 * step)
        assert (stack.gradients * direction).sum().item() == pytest.approx(numerical.item(), rel=1e-6, abs=1e-7)
        direction = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        up, down = (scalar(stack.parameters, x + sign * step * direction) for sign in (1, -1))
        numerical = (up - down) / (2 * step)
        assert (input_gradient * direction).sum().item() == pytest.approx(numerical.item(), rel=1e-6, abs=1e-7)


def test_batch_norm_equals_torch_in_both_modes():
    layer = BatchNorm(FEATURES, EPS)
    stack = stack_of(layer)
    theirs = [torch.nn.BatchNorm1d(FEATURES, eps=eps.item(), dtype=torch.float64) for eps in EPS]
    for replica, module in enumerate(theirs):
        module.weight.data, module.bias.data = layer.weight[replica].clone(), layer.bias[replica].clone()
    for _ in range(4):
        x = 3 + 2 * torch.randn(REPLICAS, BATCH, FEATURES, dtype=torch.float64)
        expected = torch.stack([module(part) for module, part in zip(theirs, x, strict=True)])
        torch.testing.assert_close(layer.forward(x.clone(), TRAINING), expected)
    x = torch.randn(REPLICAS, BATCH, FEATURES, dtype=torch.float64)
    expected = torch.stack([module.eval()(part) for module, part in zip(theirs, x, strict=True)])
    torch.testing.assert_close(layer.forward(x.clone(), EVALUATION), expected)
    assert parameters_of(stack) == 2 * FEATURES


def test_the_network_of_s1_has_its_parameters_and_norm():
    """290,080 parameters [code]; Σ of the tensors' norms 117.1 at initialisation [calc], over seeds."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(5)]
    stack = Stack(residual_mlp(64, 32, 256, 2, torch.full((5,), 1e-2)), generators, torch.float32, torch.device("cpu"))
    assert parameters_of(stack) == 290_080
    norm, norm_sum = stack.norms()
    assert ((norm_sum - 117.1).abs() < 0.5).all()
    torch.testing.assert_close(norm, stack.parameters.square().sum(1).sqrt())
    assert (stack.parameters[:, : stack.decayed].count_nonzero(1) == 64 * 256 + 4 * 256 * 256 + 256 * 32).all()


def test_initialisation_is_torch_s():
    one = Stack(Linear(64, 256), [torch.Generator().manual_seed(0)], torch.float32, torch.device("cpu"))
    theirs = torch.nn.Linear(64, 256)
    for ours, torch_s in zip(one.tensors, (theirs.weight, theirs.bias), strict=True):
        assert ours.abs().max().item() == pytest.approx(torch_s.abs().max().item(), rel=0.05)
        assert ours.std().item() == pytest.approx(torch_s.std().item(), rel=0.1)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(5, 2, 1), (3, 1, 0), (4, 3, 2)])
def test_convolution_equals_torch(kernel, stride, padding):
    """Outputs, and all gradients by autograd through conv1d, in float64; channels last on our side."""
    inputs, outputs, length = 3, 4, 11
    layer = Conv1d(inputs, outputs, kernel, stride, padding)
    stack_of(layer)
    x = torch.randn(REPLICAS, BATCH, length, inputs, dtype=torch.float64)
    result = layer.forward(x.flatten(2), TRAINING)
    upstream = torch.randn_like(result)
    gradient = layer.backward(upstream.clone())
    for replica in range(REPLICAS):
        signal = x[replica].transpose(1, 2).clone().requires_grad_()
        weight = layer.weight[replica].view(outputs, kernel, inputs).transpose(1, 2).clone().requires_grad_()
        bias = layer.bias[replica].clone().requires_grad_()
        expected = torch.nn.functional.conv1d(signal, weight, bias, stride, padding).transpose(1, 2).flatten(1)
        expected.backward(upstream[replica])
        torch.testing.assert_close(result[replica], expected.detach())
        torch.testing.assert_close(gradient[replica], signal.grad.transpose(1, 2).flatten(1))
        torch.testing.assert_close(layer.weight_gradient[replica], weight.grad.transpose(1, 2).flatten(1))
        torch.testing.assert_close(layer.bias_gradient[replica], bias.grad)


def test_a_scale_invariant_network_is_one_and_keeps_its_last_layer():
    """Its outputs in train mode do not change with the scale of the trained weights; the last layer has norm 10."""
    eps = torch.full((REPLICAS,), 1e-12)
    network = scale_invariant_mlp(FEATURES, 4, 8, 2, eps)
    stack = stack_of(network)
    x = torch.randn(REPLICAS, BATCH, FEATURES, dtype=torch.float64)
    before = network.forward(x.clone(), TRAINING).clone()
    last = network.children[-1].weight.clone()
    stack.parameters.mul_(3)
    torch.testing.assert_close(network.forward(x.clone(), TRAINING), before)
    assert torch.equal(network.children[-1].weight, last)
    torch.testing.assert_close(last.flatten(1).norm(dim=1), torch.full((REPLICAS,), 10.0, dtype=torch.float64))
    assert parameters_of(stack) == 8 * FEATURES + 8 * 8
