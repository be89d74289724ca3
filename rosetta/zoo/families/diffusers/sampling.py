"""A diffusion model in its two roles: making images, and looking at them.

    z ─► step ─► step ─► … ─► last step ─► decoder ─► image          noise of the image's index ┐
         └──── unseen by hooks ────┘                     image ─► encoder ─► noised to a timestep ─► one step

Steps are those of DDIM (Song et al., 2021, arXiv 2010.02502, equation 12 with η = 0): nothing is drawn on the way, and
an image is a function of its latent.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rosetta.errors import UserError
from rosetta.model_spec import Condition
from rosetta.zoo.families.diffusers.pipeline import Pipeline
from rosetta.zoo.latents import draw_noise
from rosetta.zoo.maps.hidden_steps import at, is_rehearsal, unseen

STEPS = 50
"""Of making an image, where a recipe does not say."""


class _Diffusion(nn.Module):
    """The networks under the names that they have in the pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__()
        self.kind, self.shape, self.scheduler = pipeline.kind, pipeline.shape, pipeline.scheduler
        self.null = pipeline.classes
        self.add_module(pipeline.kind, pipeline.denoiser)
        self.vae = pipeline.vae

    def predict(self, noisy: Tensor, timestep: int, classes: Tensor | None) -> Tensor:
        """What the denoiser says of (image, channel, y, x), in that shape; variances that it may give are dropped."""
        denoiser = self.get_submodule(self.kind)
        times = torch.full((len(noisy),), timestep, dtype=torch.int64, device=noisy.device)
        told = {} if classes is None else {"class_labels": classes}
        said: Tensor = denoiser(noisy, times, **told, return_dict=False)[0]
        return said[:, : self.shape[0]]


class Generator(_Diffusion):
    """Makes images.

    What hooks see is the last step alone, and of it the half that is told the class.

    With gradients, an earlier step keeps what it is given and nothing of what it computes, and is run again on the way
    back: memory is that of one step and the decoder, plus a latent for each step, for one third more time. A schedule
    that clips its predictions, as published ones of pixels do, has no gradient where it clips.

    Parameters
    ----------
    pipeline
        The parts.
    timesteps
        Of training, in falling order, each a step.
    guidance
        How far to go from what is said without a class to what is said with it, or beyond (Ho & Salimans, 2022, arXiv
        2207.12598); 1 says the latter, with half the work.
    """

    def __init__(self, pipeline: Pipeline, timesteps: Sequence[int], guidance: float = 1.0) -> None:
        super().__init__(pipeline)
        self.timesteps, self.guidance = tuple(timesteps), guidance

    @property
    def captured(self) -> str:
        """What hooks see."""
        half = "" if self.guidance == 1 else f", of guidance {self.guidance:g} the conditioned half"
        return f"the last of {len(self.timesteps)} denoising steps{half}"

    def forward(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        """Make images.

        Parameters
        ----------
        z
            (image, channel · y · x), standard normal: the noise to begin with.
        classes
            (image,) int64, where there are classes.

        Returns
        -------
        Tensor
            (image, rgb, y, x), in −1..1 but for what a decoder oversteps.
        """
        noisy = z.unflatten(1, self.shape)
        carried: list[Tensor] = []
        *early, last = self.timesteps
        with unseen():
            for timestep in [] if is_rehearsal() else early:
                if torch.is_grad_enabled() and noisy.requires_grad:
                    # Nothing in a step is random, so there is no state of random numbers to keep.
                    noisy, *carried = checkpoint(
                        self._step, noisy, timestep, classes, *carried, use_reentrant=False, preserve_rng_state=False
                    )
                else:
                    noisy, *carried = self._step(noisy, timestep, classes, *carried)
        return self._decode(self._step(noisy, last, classes, *carried)[0])

    def _step(self, noisy: Tensor, timestep: int, classes: Tensor | None, *carried: Tensor) -> tuple[Tensor, ...]:
        """(image, channel, y, x) a step nearer to images, and what the next step is to be given."""
        said = self._guided(noisy, timestep, classes)
        return (self.scheduler.step(said, timestep, noisy, eta=0.0, return_dict=False)[0],)

    def _guided(self, noisy: Tensor, timestep: int, classes: Tensor | None) -> Tensor:
        """As :meth:`predict`, away from what is said without a class; hooks see the half that is told it."""
        said = self.predict(noisy, timestep, classes)
        if self.guidance != 1 and classes is not None and not is_rehearsal():
            with unseen():
                plain = self.predict(noisy, timestep, torch.full_like(classes, self.null or 0))
            said = plain + self.guidance * (said - plain)
        return said

    def _decode(self, latents: Tensor) -> Tensor:
        """(image, rgb, y, x) of what has been denoised."""
        if self.vae is None:
            return latents
        images: Tensor = self.vae.decode(latents / self.vae.config.scaling_factor, return_dict=False)[0]  # type: ignore[operator, union-attr]
        return images


class Observer(_Diffusion):
    """Looks at each image, noised to timesteps of training, once at each.

    Parameters
    ----------
    pipeline
        The parts.
    timesteps
        Of training: the higher, the more noise. The noise of an image is the same at all of them.
    told_apart
        Whether hooks are told the timestep of what runs, which several need.
    label
        The class that every image is said to have, where there are classes; left out: none.
    """

    def __init__(
        self, pipeline: Pipeline, timesteps: Sequence[int], told_apart: bool, label: int | None = None
    ) -> None:
        super().__init__(pipeline)
        self.told_apart = told_apart
        self.label = self.null if label is None else label
        self.levels = {timestep: levels_of(pipeline.scheduler, timestep) for timestep in timesteps}

    def forward(self, images: Tensor, indices: Tensor) -> Tensor:
        """Look at images.

        Parameters
        ----------
        images
            (image, rgb, y, x) in −1..1.
        indices
            (image,) int64: an image's noise depends on its index alone.

        Returns
        -------
        Tensor
            (image, channel, y, x), what the denoiser says of them at the last timestep.
        """
        clean = self._encode(images)
        noise = torch.empty_like(clean) if clean.is_meta else _noise(clean, indices)
        classes = None if self.label is None else torch.full_like(indices, self.label)
        said = clean
        for timestep, (kept, added) in self.levels.items():
            with at(timestep if self.told_apart else None):
                said = self.predict(kept * clean + added * noise, timestep, classes)
        return said

    def _encode(self, images: Tensor) -> Tensor:
        """(image, channel, y, x) as the denoiser was trained on: of an encoder's distribution, the mean."""
        if self.vae is None:
            return images
        distribution = self.vae.encode(images, return_dict=False)[0]  # type: ignore[operator]
        mean: Tensor = distribution.mean * self.vae.config.scaling_factor  # type: ignore[union-attr]
        return mean


def _noise(clean: Tensor, indices: Tensor) -> Tensor:
    """(image, channel, y, x) normal noise, of each image by its index."""
    drawn = [torch.from_numpy(draw_noise(index, clean[0].numel())) for index in indices.tolist()]
    return torch.stack(drawn).view_as(clean).to(clean)


def looks_of(condition: Condition) -> tuple[tuple[int, ...], bool]:
    """The timesteps that a recipe names, and whether layers are named by them: those of a list are."""
    return condition.timesteps, isinstance(condition.timestep, tuple)


def require_trained(condition: Condition, scheduler: Any, origin: str) -> None:
    """
    Raises
    ------
    UserError
        A timestep is none of the scheduler's.
    """
    trained = scheduler.config.num_train_timesteps
    for timestep in condition.timesteps:
        if timestep >= trained:
            raise UserError(
                f"{origin}: condition.timestep {'is' if condition.timestep == timestep else 'has'} {timestep}, but its "
                f"timesteps are 0 to {trained - 1}"
            )


def levels_of(scheduler: Any, timestep: int) -> tuple[float, float]:
    """What images and noise are multiplied with at a timestep of training, before they are added.

    Flow matching (Lipman et al., 2023, arXiv 2210.02747; Esser et al., 2024, arXiv 2403.03206) interpolates between the
    two; diffusion keeps the variance.

    Raises
    ------
    UserError
        The schedule is none.
    """
    if not hasattr(scheduler, "alphas_cumprod") or scheduler.config.get("prediction_type") == "flow_prediction":
        noise = timestep / scheduler.config.num_train_timesteps
        return 1 - noise, noise
    signal = float(scheduler.alphas_cumprod[timestep])
    if not 0 <= signal <= 1:
        raise UserError(
            f"its scheduler keeps {signal:g} of an image's variance at timestep {timestep}, which must be from 0 to 1; "
            "correct its betas"
        )
    return math.sqrt(signal), math.sqrt(1 - signal)


def timesteps_of(pipeline: Pipeline, steps: int, origin: str) -> tuple[int, ...]:
    """The timesteps of training at which images are denoised in so many steps, as the schedule spaces them.

    Raises
    ------
    UserError
        There are not as many, or the schedule is none.
    """
    scheduler = pipeline.scheduler
    trained = scheduler.config.num_train_timesteps
    if steps > trained:
        raise UserError(f"{origin}: condition.steps is {steps}, but it was trained on {trained}; take fewer")
    try:
        with torch.device("cpu"):
            scheduler.set_timesteps(steps)
        found = tuple(int(timestep) for timestep in scheduler.timesteps)
    except Exception as error:  # settings of a configuration that nobody has looked at until now
        raise UserError(f"{origin}: its scheduler cannot take {steps} steps: {error}") from None
    if min(found) < 0 or max(found) >= trained:  # an offset may step over the end
        raise UserError(
            f"{origin}: with condition.steps = {steps}, its scheduler begins at timestep {max(found)} of {trained}; "
            "take fewer"
        )
    return found
