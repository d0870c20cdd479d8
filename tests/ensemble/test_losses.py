"""Every loss that is registered: its torch operations and its compiled loop equal its literal form under autograd."""

import pytest
import torch

from weightdecay import registry
from weightdecay.ensemble.loss import Loss

REPLICAS, BATCH, OUTPUTS = 3, 50, 4


@pytest.fixture(params=registry.LOSSES.names())
def loss(request) -> type[Loss]:
    return registry.LOSSES.get(request.param)


def drawn(hits: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs on both sides of every kink, and one-hot targets, some of them hit exactly if `hits`."""
    generator = torch.Generator().manual_seed(0)
    outputs = 3 * torch.randn(REPLICAS, BATCH, OUTPUTS, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, OUTPUTS, (REPLICAS, BATCH), generator=generator)
    targets = torch.nn.functional.one_hot(labels, OUTPUTS).double()
    if hits:
        outputs[:, 0] = targets[:, 0]
    outputs[:, 1] = 5 * (2 * targets[:, 1] - 1)  # every bit is right
    return outputs, targets


def test_both_forms_equal_the_literal_one_and_autograd(loss):
    outputs, targets = drawn(hits=loss.classes_from is None)
    values, correct, gradients = loss.forward(outputs.clone(), targets)
    for replica in range(REPLICAS):
        leaf = outputs[replica].clone().requires_grad_()
        expected, right = loss.literal(leaf, loss.literal_targets(targets[replica]))
        expected.backward()
        columns = [part[replica].T.contiguous().numpy().copy() for part in (outputs, targets, outputs)]
        value, count = loss.loop(*columns)
        for ours, gradient in ((values[replica], gradients[replica]), (value, torch.from_numpy(columns[2].T))):
            torch.testing.assert_close(torch.as_tensor(ours, dtype=torch.float64), expected.detach())
            torch.testing.assert_close(gradient, leaf.grad)
        assert count == correct[replica].sum() == right
        assert loss.classifies(OUTPUTS) == (0 < count < BATCH)


def test_a_tie_is_no_hit(loss):
    """A network whose outputs are all alike knows nothing, on a CPU and on a GPU."""
    outputs, targets = torch.zeros(1, 4, 3), torch.eye(3)[[0, 1, 2, 0]][None]
    outputs[0, 0, 0] = 1.0  # the first example alone is decided, and rightly
    count = 1 if loss.classifies(3) and loss.name != "sigmoid_squared_error" else 0
    assert loss.forward(outputs.clone(), targets)[1].sum() == count
    columns = [part[0].T.contiguous().numpy() for part in (outputs, targets, outputs)]
    assert loss.loop(*columns)[1] == count
