"""Kinds of pipelines that make images of prompts, by the library's classes."""

from collections.abc import Mapping

from rosetta.zoo.families.diffusers.flux import Flux, Flux2Klein
from rosetta.zoo.families.diffusers.kind import Kind
from rosetta.zoo.families.diffusers.pixart import PixArt, PixArtAlpha
from rosetta.zoo.families.diffusers.sana import Sana
from rosetta.zoo.families.diffusers.stable_diffusion_3 import StableDiffusion3

KINDS: Mapping[str, Kind] = {
    kind.pipeline: kind for kind in (Flux(), Flux2Klein(), StableDiffusion3(), Sana(), PixArt(), PixArtAlpha())
}
"""By the class that `model_index.json` names."""
