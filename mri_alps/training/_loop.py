"""The training loop, on Lightning Fabric: one process or many, by flags alone."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.priors import (
    MagnitudeGate,
    NetworkPrior,
    RealGate,
    load_prior_file,
    save_prior,
    take_weights,
)
from mri_alps.training._batches import Batch, TrainingBatches, noise_seed
from mri_alps.training._state import (
    CHECKPOINT,
    PRIOR,
    Progress,
    load_state,
    save_state,
)
from mri_alps.training.loss import denoising_loss
from mri_alps.training.muon import Muon
from mri_alps.training.schedule import AveragedWeights, learning_rate

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from mri_alps.priors import PriorSpectrum
    from mri_alps.training.config import TrainingConfig
    from mri_alps.training.images import ImageSet


@dataclass(frozen=True)
class StepReport:
    """What a callback sees after every step.

    Attributes
    ----------
    progress : Progress
        Counters, this step included.
    sigma, losses : torch.Tensor
        (n,) noise levels and weighted errors of this process's crops.
    learning_rate : float
        Of this step.
    """

    progress: Progress
    sigma: torch.Tensor
    losses: torch.Tensor
    learning_rate: float


class Trainer:
    """A run: model, averaged weights, optimizer, data and their state on disk.

    Parameters
    ----------
    fabric : lightning.fabric.Fabric
        Launched.
    config : TrainingConfig
        Recipe.
    training : ImageSet
        Images to train on.
    output : Path
        The run's folder.
    data : dict
        Description of the training set, JSON-able, with its hash under `fingerprint`.
    compile_model : bool
        Run the network's gates, most of its time on a GPU, through `torch.compile`.
    initial : NetworkPrior, optional
        Weights and counters from which a run without a checkpoint starts.
    """

    def __init__(
        self,
        fabric: Fabric,
        config: TrainingConfig,
        training: ImageSet,
        output: Path,
        data: dict[str, Any],
        compile_model: bool = False,
        initial: NetworkPrior | None = None,
    ):
        self.fabric, self.config, self.output, self.data = fabric, config, Path(output), data
        self.batches = TrainingBatches(training, config, fabric.global_rank)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)  # parameter initialisation takes no generator
            self.model = NetworkPrior(
                config.unet, config.sigma_data, config.sigma_min, config.sigma_max
            )
        self.progress = Progress()
        if initial is not None:
            self._start_from(initial)
        self.model.to(fabric.device)
        optimizer = _make_optimizer(self.model, config)
        self.average = AveragedWeights(self.model, config.ema_exponent)
        self.spectrum: PriorSpectrum | None = None  # of the averaged weights, if known
        if (self.output / CHECKPOINT).exists():
            self.progress, found = load_state(
                self.output / CHECKPOINT, self.model, self.average, optimizer, config.optimizer
            )
            if found["fingerprint"] != data["fingerprint"]:
                raise ConfigurationError(
                    f"the run in {output} was trained on other images (hash "
                    f"{found['fingerprint'][:12]}, now {data['fingerprint'][:12]}): resume with "
                    "the same data and split, or choose another output folder"
                )
            with suppress(InputFileError):  # none yet, or to be written anew
                # Known of earlier weights at worst, until the next validation; not to be lost.
                self.spectrum = load_prior_file(self.output / PRIOR).prior_spectrum
        if compile_model:
            _compile_gates(self.model)
        self.network, self.optimizer = fabric.setup(self.model, optimizer)

    def run(
        self,
        steps: int,
        workers: int = 0,
        on_step: Callable[[StepReport], None] | None = None,
        checkpoint_seconds: float = 300.0,
        session_seconds: float = math.inf,
    ) -> bool:
        """Train until `steps` steps are taken in all, or a signal asks to stop.

        Parameters
        ----------
        steps : int
            Number of the last step.
        workers : int
            Processes that make batches; 0 makes them in this process.
        on_step : callable
            Called with a `StepReport` after every step.
        checkpoint_seconds : float
            At most this much work is lost when the process is killed.
        session_seconds : float
            Stop after this time, as if by a signal.

        Returns
        -------
        bool
            True if all steps were taken, False if a signal or the time ended the run early; its
            state is saved in both cases.
        """
        indices = range(self.progress.step, steps)
        loader = DataLoader(
            self.batches,
            batch_size=None,
            sampler=indices,
            num_workers=workers,
            generator=torch.Generator().manual_seed(0),
            persistent_workers=False,
            pin_memory=self.fabric.device.type == "cuda",
        )
        saved = started = begun = time.monotonic()
        with _stop_requests() as stop:
            for batch in loader:
                report = self._step(batch)
                now = time.monotonic()
                self.progress.seconds += now - started
                started = now
                if on_step is not None:
                    on_step(report)
                    started = time.monotonic()
                if self._agree(now - saved > checkpoint_seconds):
                    self.save()
                    saved = time.monotonic()
                if self._agree(stop.requested or now - begun > session_seconds):
                    break
        self.save()
        return self.progress.step >= steps

    def save(self) -> None:
        """Write the run's checkpoint and the averaged weights as a prior, then wait for all.

        Raises
        ------
        ConfigurationError
            If the training has diverged; what was written before stays.
        """
        if not all(bool(value.isfinite().all()) for value in self.average.weights.values()):
            raise ConfigurationError(
                f"the training in {self.output} has diverged: its weights are not finite after "
                f"{self.progress.step} steps; repeat the command with a lower --learning-rate, "
                "which goes on from the last checkpoint if there is one"
            )
        if self.fabric.is_global_zero:
            save_state(
                self.output / CHECKPOINT,
                self.model,
                self.average,
                self.optimizer,
                self.progress,
                self.config,
                self.data,
            )
            self.save_averaged()
        self.fabric.barrier()

    def save_averaged(self) -> None:
        """Write the averaged weights as a prior, from this process."""
        save_prior(
            self.output / PRIOR,
            self.model,
            self.average.weights,
            self.spectrum,
            self.provenance(),
        )

    def averaged_model(self) -> NetworkPrior:
        """Return a copy of the network with the averaged weights, ready for evaluation."""
        config = self.config
        model = NetworkPrior(config.unet, config.sigma_data, config.sigma_min, config.sigma_max)
        model.load_state_dict(self.average.weights)
        return model.to(self.fabric.device).eval().requires_grad_(False)

    def provenance(self) -> dict[str, Any]:
        """Return the facts that travel with the weights."""
        return {**vars(self.progress), "config": self.config.to_dict(), "data": self.data}

    def _start_from(self, prior: NetworkPrior) -> None:
        """Take over a prior's weights and counters, so that no step's data come twice."""
        take_weights(self.model, prior)
        known = prior.provenance
        self.progress = Progress(**{n: known.get(n, v) for n, v in vars(self.progress).items()})

    def _step(self, batch: Batch) -> StepReport:
        step, config = int(batch.step), self.config
        images, sigma, known, noise = self.fabric.to_device(
            (batch.images, batch.sigma, batch.known, batch.noise)
        )
        generator = torch.Generator(device=images.device)
        generator.manual_seed(noise_seed(config.seed, step, self.fabric.global_rank))
        rate = learning_rate(step, config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses = denoising_loss(
            self.network, images, sigma, config.sigma_data, generator, known, noise
        )
        self.fabric.backward(losses.mean())
        self.fabric.clip_gradients(
            self.network, self.optimizer, max_norm=config.gradient_clip, error_if_nonfinite=False
        )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step = step + 1
        self.progress.images_seen += len(images) * self.fabric.world_size
        self.average.update(self.model, step + 1)
        return StepReport(self.progress, sigma, losses.detach(), rate)

    def _agree(self, wish: bool) -> bool:
        """Let process 0 decide for all, so that none saves or stops alone."""
        if self.fabric.world_size == 1:
            return wish
        return bool(self.fabric.broadcast(wish, src=0))


def _make_optimizer(model: NetworkPrior, config: TrainingConfig) -> torch.optim.AdamW:
    settings: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": (0.9, 0.99),
        "weight_decay": config.weight_decay,
    }
    if config.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), **settings)
    dtype = torch.bfloat16 if config.precision == "bf16-mixed" else torch.float32
    return Muon(model, (model.unet.entrance, model.unet.exit), dtype, **settings)


def _compile_gates(model: NetworkPrior) -> None:
    """Fuse what lies between convolutions, which have fast kernels already.

    A gate compiles in seconds for images of all sizes, the whole network in minutes for each.
    torch counts the kinds of all gates together and leaves those beyond its limit, 8, as they are.
    """
    gates = [m for m in model.modules() if isinstance(m, MagnitudeGate | RealGate)]
    limit = torch._dynamo.config.recompile_limit
    torch._dynamo.config.recompile_limit = max(limit, 2 * len(gates))
    for gate in gates:
        gate.compile(dynamic=True)


class _Stop:
    requested = False


@contextmanager
def _stop_requests() -> Iterator[_Stop]:
    """Turn SIGTERM and SIGINT into a request to stop after the current step."""
    stop = _Stop()

    def request(_number: int, _frame: object) -> None:
        stop.requested = True

    previous = {}
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            previous[number] = signal.signal(number, request)
    except ValueError:  # not the main thread: the caller's signals stay as they are
        pass
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
