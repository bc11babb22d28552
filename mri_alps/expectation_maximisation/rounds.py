"""A prior from undersampled scans alone: posterior samples and training in turn.

Expectation maximisation as in Rozet et al., "Learning Diffusion Priors from Observations by
Expectation Maximization", NeurIPS 2024: the scans' posterior samples under the current prior are
the training images of the next one. It begins with a Gaussian prior whose spectrum is found in
the same way. What it needs of the scans is that their masks differ, so that what one has not
measured, another one has. A network that has been trained too little has worse samples than the
prior before it: samples are those of the last prior that predicts left-out lines as well as any
before, to the scatter of that comparison.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_alps.core.atomic import atomic_path
from mri_alps.core.errors import ConfigurationError, MriAlpsWarning
from mri_alps.expectation_maximisation._gaussian import fit_gaussian
from mri_alps.expectation_maximisation._images import draw_images
from mri_alps.expectation_maximisation._judge import left_out_errors
from mri_alps.pipeline import ReconstructionConfiguration, find_scans
from mri_alps.priors import GAUSSIAN, load_prior, load_tensors, save_tensors
from mri_alps.rawdata import read_raw
from mri_alps.training import choose_recipe, held_out_groups, patient_of, run_session

if TYPE_CHECKING:
    from mri_alps.expectation_maximisation.settings import RoundSettings
    from mri_alps.training import SessionOptions, TrainingConfig

_LOGGER = logging.getLogger(__name__)
PRIOR = "prior.safetensors"
RECORD = "rounds.json"


def train_from_undersampled(
    data: Sequence[Path], output: Path, options: SessionOptions, settings: RoundSettings
) -> bool:
    """Train on scans with masks; repeat the call to go on after an interruption.

    Parameters
    ----------
    data : sequence of pathlib.Path
        Raw files, or folders of them; fully sampled ones may be among them.
    output : pathlib.Path
        Folder: a training run for each round, the posterior samples that they were trained on,
        `rounds.json` with the error of left-out lines at the beginning and after each round, and
        `prior.safetensors`, of the last round with the smallest, to its scatter.
    options : SessionOptions
        As `run_session` takes them, on one device. `initial` is the first prior; else it is a
        Gaussian one.
    settings : RoundSettings
        Rounds, posterior samples.

    Returns
    -------
    bool
        True if all rounds are finished.

    Raises
    ------
    ConfigurationError
        If more than one device is asked for, or the folder holds a run with other settings.

    Warns
    -----
    MriAlpsWarning
        If no round predicts left-out lines better than the first prior.
    """
    if (options.devices, options.nodes) != ("1", 1):
        raise ConfigurationError(
            f"training from undersampled scans takes one device, found --devices "
            f"{options.devices} and --nodes {options.nodes}: leave them out"
        )
    output = Path(output)
    scans = find_scans(data)
    recipe = choose_recipe(output, options)
    record = _Record.of(output, {"recipe": recipe.to_dict(), **dataclasses.asdict(settings)})
    start = _steps_of(options.initial)
    for number in range(record.n_finished + 1, settings.rounds + 1):
        best = record.best  # whose samples may be there from a round before
        folder, cache = output / f"round{number}", output / f"samples{best}"
        configuration = _configuration(options, settings, recipe.seed + best)
        device = configuration.torch_device()
        if best:
            model = load_prior(output / f"round{best}", device)
        elif options.initial is not None:
            model = load_prior(options.initial, device)
        else:
            model = fit_gaussian(scans, configuration, device)
        usable = draw_images(scans, model, configuration, device, cache)
        judges = _judges(usable, cache, recipe)
        # The same lines are left out every time, so that priors can be compared line by line.
        judging = dataclasses.replace(configuration, seed=recipe.seed)
        if number == 1:
            record.judged(0, left_out_errors(judges, model, judging, device))
        changes = recipe.to_dict() | {
            "steps": start + math.ceil((recipe.steps - start) * number / settings.rounds),
            "decay_steps": recipe.decay_steps // settings.rounds,
        }
        session = dataclasses.replace(
            options,
            config=None,
            cache=str(cache),
            initial=options.initial if number == 1 else str(output / f"round{number - 1}"),
            changes=changes,
        )
        if not run_session(usable, folder, session):
            return False
        trained = load_prior(folder, device)
        record.judged(number, left_out_errors(judges, trained, judging, device))
    _finish(output, record)
    return True


def _configuration(
    options: SessionOptions, settings: RoundSettings, seed: int
) -> ReconstructionConfiguration:
    # Fabric's other accelerators are not the sampler's.
    return ReconstructionConfiguration(
        prior=GAUSSIAN,  # by name; the model itself is handed on
        n_samples=settings.posterior_samples,
        n_evaluations=settings.posterior_evaluations,
        device=options.device,
        seed=seed,
        noise_std=None if settings.noise_std is None else (settings.noise_std,),
        self_calibration="off",  # samples as the prior has them: nothing is widened
    )


def _steps_of(initial: str | None) -> int:
    provenance = {} if initial is None else getattr(load_prior(initial), "provenance", {})
    return int(provenance.get("step", 0))


def _judges(scans: Sequence[Path], cache: Path, recipe: TrainingConfig) -> list[Path]:
    """The scans of the patients who are held out."""
    held_out = held_out_groups(scans, cache, recipe)
    return [path for path in scans if patient_of(read_raw(path)) in held_out]


@dataclasses.dataclass
class _Record:
    """What the rounds came to, kept in the run's folder."""

    path: Path
    settings: dict[str, Any]
    errors: list[list[float]]
    """After each round, of each choice of left-out lines, in dB; first those of the first prior."""

    @classmethod
    def of(cls, output: Path, settings: dict[str, Any]) -> _Record:
        path = output / RECORD
        settings = json.loads(json.dumps(settings))
        if not path.exists():
            return cls(path, settings, [])
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            errors = [[float(error) for error in each] for each in found["left_out_errors"]]
            known = cls(path, found["settings"], errors)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{path} is not the record of a training ({error}): choose another output folder"
            ) from error
        if known.settings != settings:
            differ = [k for k, v in settings.items() if known.settings.get(k) != v]
            raise ConfigurationError(
                f"the run in {output} was started with other settings ({', '.join(differ)}): "
                "repeat those, or choose another output folder"
            )
        return known

    @property
    def left_out_db(self) -> list[float]:
        """Mean error after each round; NaN where no line can be left out."""
        return [float(np.mean(each)) if each else math.nan for each in self.errors]

    @property
    def n_finished(self) -> int:
        return max(len(self.errors) - 1, 0)

    @property
    def best(self) -> int:
        """The last round that predicts left-out lines as well as the best before it.

        A better prior is not always told from its predecessor by a few lines, and later rounds
        would go on with the samples of the first: worse by less than a standard error is as well.
        """
        best = 0
        for number in range(1, len(self.errors)):
            now, before = np.array(self.errors[number]), np.array(self.errors[best])
            if now.shape != before.shape or now.size < 2:
                better = not before.size or (now.size > 0 and now.mean() < before.mean())
            else:
                worse = now - before
                better = worse.mean() < worse.std(ddof=1) / math.sqrt(worse.size)
            best = number if better else best
        return best

    def judged(self, number: int, errors: list[float]) -> None:
        """Keep the errors of left-out lines after a round; 0 is the prior at the beginning."""
        self.errors[number:] = [errors]
        _LOGGER.info(
            "round %d: left-out lines are %.2f dB above their noise", number, self.left_out_db[-1]
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.path) as temporary:
            found = {
                "left_out_db": self.left_out_db,
                "left_out_errors": self.errors,
                "settings": self.settings,
            }
            temporary.write_text(json.dumps(found, indent=1), encoding="utf-8")


def _finish(output: Path, record: _Record) -> None:
    """Make the best round's weights those of the run, and say where none is better."""
    errors = record.left_out_db
    best = record.best or min(range(1, len(errors)), key=errors.__getitem__)
    if not any(map(math.isfinite, errors)):
        message = "no lines of the held-out scans can be left out: the last round is taken unjudged"
        warnings.warn(message, MriAlpsWarning, stacklevel=3)
    elif errors[best] >= errors[0]:
        warnings.warn(
            f"no round predicts left-out lines better than the prior at the beginning did "
            f"({errors[best]:.2f} and {errors[0]:.2f} dB above the noise): give more --steps, "
            "or more scans whose masks differ",
            MriAlpsWarning,
            stacklevel=3,
        )
    tensors, metadata = load_tensors(output / f"round{best}" / PRIOR)
    metadata["provenance"]["from_undersampled"] = {"round": best, "left_out_db": record.left_out_db}
    save_tensors(output / PRIOR, tensors, metadata)
