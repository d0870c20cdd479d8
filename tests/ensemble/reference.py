"""The literal reference: one network at a time, plain PyTorch modules, `torch.optim`. What the trainer is held to."""

import numpy as np
import torch
from torch import Tensor, nn

from weightdecay.datasets import Splits
from weightdecay.ensemble.schedules import multiplier
from weightdecay.run import Run

CHANNELS, LAST_NORM = 4, 10.0


def generator_of(seed: int, stream: int) -> torch.Generator:
    """Stream 0 is the initialisation's, 1 + epoch that of the data's order."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence([seed, stream]).generate_state(1)[0]))


class Block(nn.Module):
    """ReLU(x + BN(Linear(ReLU(BN(Linear(x)))))), without BN when eps is None."""

    def __init__(self, width: int, eps: float | None):
        super().__init__()
        norms = [nn.Identity() if eps is None else nn.BatchNorm1d(width, eps=eps) for _ in range(2)]
        self.first, self.first_norm = nn.Linear(width, width), norms[0]
        self.second, self.second_norm = nn.Linear(width, width), norms[1]

    def forward(self, x):
        return torch.relu(x + self.second_norm(self.second(torch.relu(self.first_norm(self.first(x))))))


class Dropout(nn.Module):
    """x · 0 or x / (1 − p); who is dropped at `step` is said by Philox 4×32-10, written as its authors state it."""

    def __init__(self, run: Run, number: int):
        super().__init__()
        self.rate, self.number, self.step = round(run.dropout * 2**24) / 2**24, number, 0
        self.key = [int(word) for word in np.random.SeedSequence([run.seed, 0, 1]).generate_state(2)]

    def forward(self, x):
        if not self.training:
            return x
        batch, features = x.shape
        example, group = np.indices((batch, -(-features // 4)), np.uint64)
        words = philox([example, group, np.uint64(self.step), np.uint64(self.number)], self.key)
        uniform = torch.tensor(words.astype(np.int64)).view(batch, -1)[:, :features] // 2**8 / 2**24
        return x * (uniform >= self.rate) / (1 - self.rate)


def philox(counter: list[np.ndarray], key: list[int]) -> np.ndarray:
    """Ten rounds on four words of 32 bits (Salmon et al. 2011, section 3.3), for many counters at once.

    The words of the counter are uint64, whose products do not overflow; the result's four words are its last axis.
    """
    a, b, c, d = np.broadcast_arrays(*counter)
    low, high = key
    for _ in range(10):
        first, second = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = second >> 32 ^ b ^ low, second % 2**32, first >> 32 ^ d ^ high, first % 2**32
        low, high = (low + 0x9E3779B9) % 2**32, (high + 0xBB67AE85) % 2**32
    return np.stack([a, b, c, d], -1)


def network(inputs: int, outputs: int, run: Run) -> nn.Module:
    """The run's network with PyTorch's modules."""
    width, eps = run.width, run.batch_norm_eps
    if run.network == "residual_mlp":
        blocks = [Block(width, eps) for _ in range(run.blocks)]
        return nn.Sequential(nn.Linear(inputs, width), *blocks, nn.Linear(width, outputs))
    scale_invariant = run.network.startswith("scale_invariant")
    if run.network.endswith("cnn"):
        layers, before, positions = [nn.Unflatten(1, (1, inputs))], 1, inputs
        for kernel in (5, 3, 3):
            layers.append(nn.Conv1d(before, CHANNELS, kernel, stride=2, padding=1, bias=not scale_invariant))
            layers += [nn.BatchNorm1d(CHANNELS, eps=eps, affine=False)] if scale_invariant else []
            layers.append(nn.ReLU())
            before, positions = CHANNELS, (positions + 2 - kernel) // 2 + 1
        last = nn.Linear(CHANNELS * positions, outputs, bias=not scale_invariant)
        last.requires_grad_(not scale_invariant)
        return nn.Sequential(*layers, nn.Flatten(), last)
    layers, before = [], inputs
    for number in range(run.blocks):
        layers.append(nn.Linear(before, width, bias=not scale_invariant))
        layers += [nn.BatchNorm1d(width, eps=eps, affine=False)] if scale_invariant else []
        layers.append(nn.ReLU())
        layers += [Dropout(run, number)] if run.dropout else []
        before = width
    last = nn.Linear(width, outputs, bias=not scale_invariant)
    last.requires_grad_(not scale_invariant)
    return nn.Sequential(*layers, last)


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The modules with parameters or statistics, in the order in which the forward pass meets them."""
    return [module for module in model.modules() if isinstance(module, (nn.Linear, nn.Conv1d, nn.BatchNorm1d))]


def ours(module: nn.Module, weight: Tensor, run: Run) -> Tensor:
    """A weight of the module in the trainer's layout, in which channels come last."""
    if isinstance(module, nn.Linear) and run.network.endswith("cnn"):
        weight = weight.view(len(weight), CHANNELS, -1)
    return weight.transpose(1, 2).reshape(len(weight), -1) if weight.dim() == 3 else weight


def theirs(module: nn.Module, weight: Tensor, run: Run) -> Tensor:
    """The inverse of `ours`."""
    if isinstance(module, nn.Conv1d):
        return weight.view(module.out_channels, -1, module.in_channels).transpose(1, 2)
    if run.network.endswith("cnn"):
        return weight.view(len(weight), -1, CHANNELS).transpose(1, 2).reshape(len(weight), -1)
    return weight


def initialise(model: nn.Module, run: Run) -> None:
    """PyTorch's own initialisation of its layers, drawn from the run's generator."""
    generator = generator_of(run.seed, 0)
    with torch.no_grad():
        for module in layers_of(model):
            if isinstance(module, nn.BatchNorm1d):
                continue
            bound = module.weight[0].numel() ** -0.5
            draw = torch.empty(len(module.weight), module.weight[0].numel())
            module.weight.copy_(theirs(module, draw.uniform_(-bound, bound, generator=generator), run))
            if module.bias is not None:
                module.bias.copy_(torch.empty(module.bias.shape).uniform_(-bound, bound, generator=generator))
            if not module.weight.requires_grad:
                module.weight.mul_(LAST_NORM / module.weight.norm())


def optimizer_of(model: nn.Module, run: Run) -> torch.optim.Optimizer:
    """`torch.optim`'s own; what it lacks, SGD with decoupled decay and L1, is done by hand in `train`."""
    l1_share = {"l1": 1.0, "proximal_l1": 1.0, "elastic_net": run.l1_ratio}.get(run.decay, 0.0)
    decay = 0.0 if run.decay == "none" else run.weight_decay * (1 - l1_share)
    apart = run.decay in ("decoupled", "elastic_net")
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = []
    for matrices in (True, False):
        decays = matrices or run.decay_exclude == "nothing"
        by_hand = {
            "sgdw": decay * (apart and run.optimizer == "sgd") * decays,
            "l1": run.weight_decay * (run.decay == "l1") * decays,
            "proximal": run.weight_decay * l1_share * (run.decay != "l1") * decays,
        }
        parameters = [parameter for parameter in trained if (parameter.dim() > 1) == matrices]
        groups.append({"params": parameters, "weight_decay": decay * decays * (by_hand["sgdw"] == 0), **by_hand})
    if run.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=run.learning_rate, momentum=run.momentum)
    kind = torch.optim.AdamW if apart else torch.optim.Adam
    return kind(groups, lr=run.learning_rate, betas=(run.beta1, run.beta2), eps=run.eps)


def loss_of(outputs: Tensor, targets: Tensor, run: Run) -> Tensor:
    if run.loss == "cross_entropy":
        return nn.functional.cross_entropy(outputs, targets.argmax(1))
    if run.loss == "squared_error":
        return nn.functional.mse_loss(outputs, targets) * targets.shape[1]
    if run.loss in ("absolute_error", "smooth_l1"):
        kind = nn.functional.l1_loss if run.loss == "absolute_error" else nn.functional.smooth_l1_loss
        return kind(outputs, targets) * targets.shape[1]
    return nn.functional.mse_loss(torch.sigmoid(outputs), targets)


def train(run: Run, splits: Splits, dtype: torch.dtype) -> tuple[nn.Module, list[float]]:
    """The trained network and the training loss of every step."""
    inputs, targets = (tensor.to(dtype) for tensor in splits["train"])
    model = network(inputs.shape[1], targets.shape[1], run)
    initialise(model, run)
    model.to(dtype)
    optimizer = optimizer_of(model, run)
    dropouts = [module for module in model.modules() if isinstance(module, Dropout)]
    epoch_steps = len(inputs) // run.batch_size
    losses = []
    for step in range(run.steps):
        epoch, within = divmod(step, epoch_steps)
        order = torch.arange(len(inputs))
        if run.shuffle:
            order = torch.randperm(len(inputs), generator=generator_of(run.seed, 1 + epoch))
        batch = order[within * run.batch_size : (within + 1) * run.batch_size]
        for group in optimizer.param_groups:
            group["lr"] = run.learning_rate * multiplier(run, step)
        for module in dropouts:
            module.step = step
        optimizer.zero_grad()
        loss = loss_of(model(inputs[batch]), targets[batch], run)
        loss.backward()
        with torch.no_grad():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if group["sgdw"]:
                        parameter.mul_(1 - group["lr"] * group["sgdw"])
                    if group["l1"]:
                        parameter.grad += group["l1"] * parameter.sign()
        optimizer.step()
        with torch.no_grad():
            for group in optimizer.param_groups:
                for parameter in group["params"] if group["proximal"] else ():
                    parameter.copy_(nn.functional.softshrink(parameter, group["lr"] * group["proximal"]))
        losses.append(loss.item())
    return model, losses
