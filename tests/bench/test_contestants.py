"""Every contestant does the same work: after 50 steps all replicas have the losses that our trainer has."""

import importlib.util

import pytest
import torch

from weightdecay.bench.cases import CASES
from weightdecay.bench.torch_peers import CHECKED_STEPS, Grouped, Sequential, Vmap
from weightdecay.bench.trainer import Trainer
from weightdecay.ensemble.layers import BatchNorm
from weightdecay.ensemble.program import program_of
from weightdecay.ensemble.stacking import stacks_of
from weightdecay.ensemble.state import Ensemble

CPU = torch.device("cpu")
REPLICAS = 3
TOLERANCE = 1e-4  # relative, of the sum of 50 losses: Adam in float32 gets to 5e-5 between two versions of JAX
SAMPLE = ["residual_64", "mlp_4", "mlp_64", "cnn", "scale_invariant"]  # every network, loss and optimiser
NEEDS_JAX = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is an optional peer")


def trained(name: str) -> tuple[Ensemble, torch.Tensor, torch.Tensor]:
    """Our ensemble after 50 steps, and the sums of loss and of right examples over all of them, `[R]`."""
    case = CASES[name]
    program = program_of(Ensemble(case.runs(REPLICAS), case.protocol(), torch.float32, CPU))
    ensemble = program.ensemble
    sums = torch.zeros(2, REPLICAS)
    with torch.no_grad():
        for step in range(1, CHECKED_STEPS + 1):
            program.advance()
            if step % ensemble.epoch_steps == 0 or step == CHECKED_STEPS:  # the trainer's own sums are an epoch's
                sums += torch.stack([ensemble.sums["loss_sum"], ensemble.sums["correct_sum"]])
    return ensemble, *sums


def statistics(ensemble: Ensemble) -> list[torch.Tensor]:
    """Running mean and variance of every BatchNorm, `[R, H]` each."""
    norms = [layer for layer in ensemble.stack.leaves if isinstance(layer, BatchNorm)]
    return [tensor for layer in norms for tensor in (layer.running_mean, layer.running_variance)]


@pytest.mark.parametrize("name", SAMPLE)
def test_the_plain_module_trains_as_ours_does(name):
    ensemble, loss_sum, correct_sum = trained(name)
    plain = Sequential(CASES[name], REPLICAS, CPU)
    plain.train(CHECKED_STEPS)
    assert plain.replicas == 1
    torch.testing.assert_close(plain.loss_sum, loss_sum[0], rtol=TOLERANCE, atol=0)
    assert plain.correct_sum == pytest.approx(correct_sum[0].item(), abs=3)  # a tie may be broken by rounding
    norms = [module for module in plain.model.modules() if isinstance(module, torch.nn.BatchNorm1d)]
    theirs = [tensor for norm in norms for tensor in (norm.running_mean, norm.running_var)]
    for own, other in zip(statistics(ensemble), theirs, strict=True):
        assert (other - own[0]).norm() < 0.01 * own[0].norm()  # room for a ReLU flipped by rounding


@pytest.mark.parametrize(("peer", "name"), [*((Vmap, name) for name in SAMPLE), (Grouped, "cnn")])
def test_every_replica_of_a_stacked_torch_peer_trains_as_ours_does(peer, name):
    _, loss_sum, correct_sum = trained(name)
    stacked = peer(CASES[name], REPLICAS, CPU)
    loss = stacked.first_steps()
    assert loss == stacked.loss[0].item()
    torch.testing.assert_close(stacked.loss_sum, loss_sum, rtol=TOLERANCE, atol=0)
    torch.testing.assert_close(stacked.correct_sum.float(), correct_sum, rtol=0, atol=3)


@NEEDS_JAX
@pytest.mark.parametrize("name", SAMPLE)
def test_every_replica_of_jax_trains_as_ours_does(name, monkeypatch):
    from weightdecay.bench import jax_peer

    monkeypatch.setattr(jax_peer, "LONGEST_SCAN", 25)  # two calls are 50 steps
    monkeypatch.setattr(jax_peer, "SHORTEST_SCAN", 25)
    ensemble, loss_sum, correct_sum = trained(name)
    peer = jax_peer.Jax(CASES[name], REPLICAS, CPU)
    peer.first_steps()
    state, step, theirs, correct = peer.carry
    assert step == CHECKED_STEPS
    torch.testing.assert_close(torch.tensor(theirs.tolist()), loss_sum, rtol=TOLERANCE, atol=0)
    torch.testing.assert_close(torch.tensor(correct.tolist()), correct_sum, rtol=0, atol=3)
    means = [torch.tensor(each[key].tolist()) for each in state["statistics"].values() for key in ("mean", "variance")]
    for own, other in zip(statistics(ensemble), means, strict=True):
        assert (other - own).norm() < 0.01 * own.norm()


@pytest.mark.parametrize("replicas", [1, 70])
def test_ours_is_one_of_the_stacks_that_the_trainer_makes_and_says_the_loss_of_seed_0(replicas):
    ours = Trainer(CASES["mlp_64"], replicas, CPU)
    assert ours.replicas in {len(stack) for stack in stacks_of(CASES["mlp_64"].runs(replicas), CPU)}
    assert ours.first_steps() == pytest.approx(Sequential(CASES["mlp_64"], 1, CPU).first_steps(), rel=TOLERANCE)
