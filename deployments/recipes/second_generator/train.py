"""Trains a small StyleGAN2 on images of the packaged DCGAN: a second generator of faces, with other latents and maps.

    python deployments/recipes/second_generator/train.py runs/second-generator
    rosetta mine deployments/recipes/second_generator/recipe.toml

It writes into the folder that it is given:

    weights.safetensors  the moving average of the generator, which `stylegan2/custom` reads as it is
    samples.png          64 of its images
    checkpoint.pt        what the same command resumes from

The networks learn by the non-saturating loss (Goodfellow et al., 2014), with the gradient penalty R1 on real images
(Mescheder et al., 2018, arXiv 1801.04406) at every sixteenth step (StyleGAN2, section 3.1) and mirrored images.
Every random number depends on the seed and the step alone, so that an interrupted training ends with the same bytes.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from discriminator import Discriminator
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from rosetta.errors import UserError
from rosetta.zoo.families.stylegan.stylegan2_nvidia import Config, Generator

TEACHER_SIDE = 64
"""Side of the images of the DCGAN, in pixels."""
_AT_ONCE = 64
"""Images in a pass that needs no gradient."""
_MEAN_DRAWS = 4096
"""Latents whose styles are averaged for truncation."""


@dataclass(frozen=True)
class Settings:
    """What a training depends on; the command takes each field as an option."""

    size: int = 64
    """Side of the images in pixels."""
    images: int = 8192
    """Images of the DCGAN."""
    batch: int = 32
    steps: int = 7000
    width: int = 8
    """Channels of the finest grid; each coarser one has twice as many, at most 256."""
    latent: int = 64
    """Length of z and of w."""
    layers: int = 4
    """Of the mapping."""
    rate: float = 0.002
    """Of Adam."""
    penalty: float = 0.5
    """Weight of R1."""
    penalty_every: int = 16
    average: int = 4000
    """Images after which a weight's part in the moving average is halved."""
    seed: int = 0
    every: int = 100
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        if self.size not in (16, 32, TEACHER_SIDE):
            raise UserError(f"--size is {self.size}; give 16, 32 or {TEACHER_SIDE}")
        if self.batch < 4 or self.batch % 4:
            raise UserError(f"--batch is {self.batch}; give a multiple of 4")
        for name in ("images", "steps", "width", "latent", "layers", "every"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} is {getattr(self, name)}; give at least 1")

    @property
    def widths(self) -> dict[int, int]:
        """Channels by the side of the grid, from 4 on."""
        sides = [4 << power for power in range((self.size // 4).bit_length())]
        return {side: min(self.width * self.size // side, 256) for side in sides}

    def generator(self) -> Generator:
        """Untrained. It has no noise: an image depends on its latent alone."""
        shape = {"z_dim": self.latent, "w_dim": self.latent, "mapping_layers": self.layers}
        return Generator(Config(resolution=self.size, widths=self.widths, noise=False, **shape))

    def discriminator(self) -> Discriminator:
        """Untrained."""
        halves = [2 * self.widths[side] for side in reversed(self.widths) if side < self.size]
        return Discriminator([min(width, 256) for width in halves])


def real_images(settings: Settings, device: torch.device) -> Tensor:
    """(image, rgb, y, x) uint8: what the DCGAN makes of seeded latents.

    Raises
    ------
    UserError
        The package with its weights is not installed.
    """
    from rosetta.model_spec import ModelSpec
    from rosetta.zoo import load

    teacher = load(
        ModelSpec(name="dcgan", model="dcgan/digiface", weights="package:gan_face_generate/weights.tar"), device
    )
    latents = torch.from_numpy(teacher.draw_latents(range(settings.images), settings.seed))
    with torch.inference_mode():
        made = [_bytes(teacher.module(z.to(device)), settings.size) for z in latents.split(_AT_ONCE)]
    return torch.cat(made).clone()


class Training:
    """Both networks, the moving average and the optimizers, at some step."""

    def __init__(self, settings: Settings, real: Tensor) -> None:
        self.settings, self.real, self.step = settings, real, 0
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            generator, discriminator = settings.generator(), settings.discriminator()
        self.generator = generator.to(real.device)
        self.discriminator = discriminator.to(real.device)
        self.average = deepcopy(self.generator).requires_grad_(False)
        rates = {"lr": settings.rate, "betas": (0.0, 0.99)}
        self.optimizers = [torch.optim.Adam(net.parameters(), **rates) for net in (generator, discriminator)]

    def advance(self) -> Tensor:
        """One step; gives what :meth:`learn` does."""
        losses = self.learn(*self.batch(), penalised=self.step % self.settings.penalty_every == 0)
        self.step += 1
        self.follow()
        return losses

    def learn(self, real: Tensor, z: Tensor, penalised: bool) -> Tensor:
        """Both networks move, the discriminator first, and both on what the generator makes of the same latents.

        Parameters
        ----------
        real
            (image, rgb, y, x) in −1..1.
        z
            (image, z).
        penalised
            Whether R1 is among the discriminator's losses.

        Returns
        -------
        Tensor
            (2,) losses of the generator and of the discriminator, the latter without R1.
        """
        settings, (of_generator, of_discriminator) = self.settings, self.optimizers
        made = self.generator(z)

        real.requires_grad_(penalised)
        scores = self.discriminator(real)
        loss_d = F.softplus(-scores).mean() + F.softplus(self.discriminator(made.detach())).mean()
        penalty = _r1(scores, real) * (settings.penalty / 2 * settings.penalty_every) if penalised else 0.0
        of_discriminator.zero_grad()
        (loss_d + penalty).backward()
        of_discriminator.step()

        self.discriminator.requires_grad_(False)
        loss_g = F.softplus(-self.discriminator(made)).mean()
        of_generator.zero_grad()
        loss_g.backward()
        of_generator.step()
        self.discriminator.requires_grad_(True)
        return torch.stack([loss_g, loss_d]).detach()

    def batch(self) -> tuple[Tensor, Tensor]:
        """Real images (image, rgb, y, x) in −1..1, some of them mirrored, and latents (image, z)."""
        count = self.settings.batch
        draws = torch.Generator().manual_seed((self.settings.seed << 32) + self.step)
        chosen = torch.randint(len(self.real), (count,), generator=draws)
        mirrored = torch.rand(count, generator=draws) < 0.5
        z = torch.randn(count, self.settings.latent, generator=draws)
        device = self.real.device
        real = self.real[chosen.to(device)].float() / 127.5 - 1
        real = torch.where(mirrored.to(device)[:, None, None, None], real.flip(3), real)
        return real, z.to(device)

    def follow(self) -> None:
        """The average follows the generator, faster at first (StyleGAN2-ADA, arXiv 2006.06676, appendix C)."""
        seen = self.step * self.settings.batch
        kept = 0.5 ** (self.settings.batch / min(self.settings.average, 0.05 * seen))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
                mean.lerp_(now, 1 - kept)

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, but for the real images."""
        nets = {name: getattr(self, name).state_dict() for name in ("generator", "discriminator", "average")}
        return {"step": self.step, **nets, "optimizers": [each.state_dict() for each in self.optimizers]}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what :meth:`state` gave."""
        self.step = state["step"]
        for name in ("generator", "discriminator", "average"):
            getattr(self, name).load_state_dict(state[name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

    def finished(self) -> Generator:
        """The moving average, with the mean style that truncation goes to."""
        net, draws = deepcopy(self.average).cpu(), torch.Generator().manual_seed(self.settings.seed)
        with torch.no_grad():
            styles = net.mapping(torch.randn(_MEAN_DRAWS, self.settings.latent, generator=draws))
            net.mapping.get_buffer("w_avg").copy_(styles[:, 0].mean(0))
        return net


def train(settings: Settings, root: Path, device: torch.device) -> Iterator[str]:
    """Train, or go on, and write to `root` at each checkpoint; gives a line for each.

    Raises
    ------
    UserError
        The checkpoint there is of other settings, or :func:`real_images` cannot be made.
    """
    path = root / "checkpoint.pt"
    saved = _checkpoint(path, settings)
    training = Training(settings, real_images(settings, device))
    if saved is not None:
        training.restore(saved)
    root.mkdir(parents=True, exist_ok=True)
    while training.step < settings.steps:
        begin, count = time.monotonic(), min(settings.every, settings.steps - training.step)
        losses = torch.stack([training.advance() for _ in range(count)]).mean(0)
        each = (time.monotonic() - begin) / count
        _write(training, path)
        left = each * (settings.steps - training.step) / 60
        yield (
            f"step {training.step} of {settings.steps}: losses {losses[0]:.2f} (generator) {losses[1]:.2f} "
            f"(discriminator), {each:.2f} s a step, {left:.0f} min left"
        )


def _checkpoint(path: Path, settings: Settings) -> dict[str, Any] | None:
    """What to resume from, if there is anything."""
    if not path.is_file():
        return None
    saved = torch.load(path, map_location="cpu", weights_only=True)
    for name, value in asdict(settings).items():
        before = saved["settings"][name]
        if before != value and name not in ("steps", "every"):
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{path} was trained with {option} {before}, not {value}; give that, or another folder")
    return saved


def _write(training: Training, path: Path) -> None:
    settings, net = asdict(training.settings), training.finished()
    draws = torch.Generator().manual_seed(training.settings.seed + 1)
    with torch.inference_mode():
        samples = _bytes(net(torch.randn(64, training.settings.latent, generator=draws)), training.settings.size)
    _replace(
        path.parent / "weights.safetensors",
        lambda file: save_file(net.state_dict(), file, {"settings": json.dumps(settings)}),
    )
    _replace(path.parent / "samples.png", lambda file: _grid(samples).save(file, "png"))
    _replace(path, lambda file: torch.save({"settings": settings, **training.state()}, file))


def _replace(path: Path, write: Any) -> None:
    """A file appears whole or not at all."""
    partial = path.with_name(f"{path.name}.part")
    write(partial)
    partial.replace(path)


def _r1(scores: Tensor, real: Tensor) -> Tensor:
    """The mean squared norm of the scores' gradient by the images."""
    (gradient,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def _bytes(images: Tensor, side: int) -> Tensor:
    """(image, rgb, y, x) in −1..1 → uint8 of a side, by averages of squares."""
    images = F.adaptive_avg_pool2d(images, side)
    return (images * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)


def _grid(images: Tensor) -> Image.Image:
    """(64, rgb, y, x) uint8 as one picture of eight rows."""
    side = images.shape[2]
    rows = images.unflatten(0, (8, 8)).permute(0, 3, 1, 4, 2).reshape(8 * side, 8 * side, 3)
    return Image.fromarray(rows.cpu().numpy())


def _main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("root", type=Path, help="folder of the run")
    parser.add_argument("--device", default="cpu", type=torch.device)
    for field in fields(Settings):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    given = vars(parser.parse_args(arguments))
    root, device = given.pop("root"), given.pop("device")
    try:
        for line in train(Settings(**given), root, device):
            print(line, flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
