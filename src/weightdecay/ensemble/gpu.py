"""Training on a GPU: a step runs on the device alone, and reads whatever varies by step from the device's memory.

A step takes microseconds to milliseconds on a GPU, and launching its hundred kernels from Python takes as long. So the
whole step, optimiser included, is captured in a CUDA graph once and then replayed. A capture freezes every number that
Python hands over. Therefore the step counter lives on the device, and the step uses it to look up its batch and its
coefficients in tables. The tables are filled every few epochs, without waiting for earlier steps. Meanwhile the CPU
draws the batches of the next table, which for 128 small networks takes as long as their steps (38 and 36 ms on an
H200).

The same program runs on CPU tensors, but captures nothing there. The tests compare it with the CPU's own loop.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from weightdecay.ensemble.layer import EVALUATION, Moment
from weightdecay.ensemble.program import EVALUATION_ROWS, Program
from weightdecay.ensemble.state import Ensemble

REPLAYED = 16  # steps in one replay: launching a graph takes about as long as a few kernels
MEANWHILE = ThreadPoolExecutor(1, "order")  # draws the order of batches while earlier steps run


class GpuProgram(Program):
    """Advances an ensemble whose tensors are on one device; the CPU only fills tables and launches."""

    table_rows = 2**26  # 256 MiB
    at_once = REPLAYED

    def __init__(self, ensemble: Ensemble):
        super().__init__(ensemble)
        self.captures = ensemble.device.type == "cuda"
        self.graphs: dict[int, torch.cuda.CUDAGraph] = {}  # by number of steps, the largest first
        self.position = torch.zeros(1, dtype=torch.int64, device=ensemble.device)  # steps done
        self.first_rows = ensemble.which.int() * ensemble.examples
        self.seed_of = self._upload(self.seed_of)
        self.drawn: tuple[int, Future[Tensor]] | None = None  # the next table and its order, `[steps, seeds, B]`
        self.coefficients = self._coefficients(0)  # [steps, C, R]
        self.order = self._order(0)  # [steps, R · B]: rows of the training data; one epoch of them if not shuffled
        self.table = 0

    def fill(self, table: int) -> None:
        self.coefficients.copy_(self._coefficients(table))
        if self.ensemble.run.shuffle:
            self.order.copy_(self._order(table))

    def run(self, within: int, count: int) -> None:
        if not self.captures:
            for _ in range(count):
                self._step()
            return
        if not self.graphs:
            self._capture()
        for size, graph in self.graphs.items():
            replays, count = divmod(count, size)
            for _ in range(replays):
                graph.replay()

    def evaluate(self, split: str) -> tuple[Tensor, Tensor]:
        ensemble = self.ensemble
        loss_sum = correct_sum = torch.zeros_like(ensemble.sums["loss_sum"])
        which, pair = ensemble.which, ensemble.data[split]
        for inputs, targets in zip(*(part.split(EVALUATION_ROWS, dim=1) for part in pair), strict=True):
            outputs = ensemble.stack.network.forward(inputs[which], EVALUATION)
            loss, correct, _ = ensemble.loss.forward(outputs, targets[which])
            loss_sum = loss_sum + loss * inputs.shape[1]
            correct_sum = correct_sum + correct.sum(1).to(loss)
        return loss_sum / pair[0].shape[1], correct_sum / pair[0].shape[1]

    def restore(self, step: int, tensors: dict[str, Tensor]) -> None:
        super().restore(step, tensors)
        self.position.fill_(step)

    def _step(self) -> None:
        """Do one step, in which the CPU decides nothing."""
        ensemble = self.ensemble
        row, within = self.position % self.steps, self.position % ensemble.epoch_steps
        starts, ends = within == 0, within == ensemble.epoch_steps - 1
        rows = self.order.index_select(0, row if ensemble.run.shuffle else within).squeeze(0)
        coefficients = self.coefficients.index_select(0, row).squeeze(0)
        shape = len(ensemble.runs), ensemble.run.batch_size
        inputs, targets = (
            part.flatten(0, 1).index_select(0, rows).view(*shape, *part.shape[2:]) for part in ensemble.data["train"]
        )
        outputs = ensemble.stack.network.forward(inputs, Moment(True, self.position, ensemble.words))
        loss, correct, gradient = ensemble.loss.forward(outputs, targets)
        ensemble.stack.network.backward(gradient, input_gradient=False)
        ensemble.optimizer.update(coefficients)
        sums = ensemble.sums
        sums["loss_sum"].masked_fill_(starts, 0.0).add_(loss)
        sums["correct_sum"].masked_fill_(starts, 0.0).add_(correct.sum(1))
        sums["finite_steps"] += loss.isfinite() & (sums["finite_steps"] == self.position)
        if self.held_from:
            self._hold_norm(ends)
        self.position += 1

    def _hold_norm(self, ends: Tensor) -> None:
        """Scale weights back to the norm that is held; `ends`: whether this step ends an epoch."""
        ensemble, held = self.ensemble, self.ensemble.sums["held_norm"]
        norm = ensemble.norm_of_held()
        saturated = ensemble.sums["correct_sum"] >= self.held_from
        begun = torch.where(held.isnan() & saturated & ends, norm, held)
        held.copy_(torch.where((begun < 0) & (norm <= -begun), -begun, begun))
        factor = torch.where(held > 0, held / norm, torch.ones_like(norm))[:, None]
        for start, end in ensemble.held_columns:
            ensemble.stack.parameters[:, start:end].mul_(factor)

    def _capture(self) -> None:
        """Capture a graph of `REPLAYED` steps and one of a single step, without changing what is trained.

        Capturing runs nothing. But every operation must have run once before, so that libraries are loaded and kernels
        compiled.
        """
        kept = [(tensor, tensor.clone()) for tensor in (*self.ensemble.tensors().values(), self.position)]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        for tensor, value in kept:
            tensor.copy_(value)
        pool = torch.cuda.graph_pool_handle()
        for steps in (REPLAYED, 1):
            self.graphs[steps] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graphs[steps], pool=pool):
                for _ in range(steps):
                    self._step()

    def _coefficients(self, table: int) -> Tensor:
        """Return the optimiser's coefficients at every step of a table, `[steps, C, R]`."""
        return self.ensemble.optimizer.coefficients(table * self.steps, self._upload(self.multipliers(table)))

    def _order(self, table: int) -> Tensor:
        """Return the rows of the training data that make up the batches of a table, `[steps, R · B]`."""
        drawn = self.drawn[1].result() if self.drawn and self.drawn[0] == table else self._draw(table)
        following = table + 1
        if self.ensemble.run.shuffle and following * self.steps < self.ensemble.run.steps:
            self.drawn = following, MEANWHILE.submit(self._draw, following)
        orders = self._upload(drawn)
        return (orders.index_select(1, self.seed_of) + self.first_rows[:, None]).flatten(1)

    def _draw(self, table: int) -> Tensor:
        """Draw the order of a table, `[steps, seeds, B]`, as int32 on the CPU, which halves the bytes to upload."""
        return self.orders(table).int()

    def _upload(self, tensor: Tensor) -> Tensor:
        """Copy a tensor to the device through pinned memory, so that the CPU does not wait for earlier steps."""
        if self.ensemble.device.type != "cuda":
            return tensor
        return tensor.pin_memory().to(self.ensemble.device, non_blocking=True)
