"""Prompts into what transformers are given: text encoders run once for each distinct prompt, and are freed.

Encoders run where the model will, in the precision that they are saved in, and what they say is kept in it. Where a
process loads a model again, what they said of its prompts is taken from memory.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rosetta.errors import UserError
from rosetta.zoo.device import target_device
from rosetta.zoo.families.diffusers import saved
from rosetta.zoo.families.diffusers.kind import Kind, Texts
from rosetta.zoo.families.diffusers.pipeline import library, settings
from rosetta.zoo.weights.source import Folder

Encode = Callable[[Sequence[str], bool], dict[str, Tensor]]
"""Prompts, and whether they are what guidance leads away from, into tensors (prompt, …) by name."""
_AT_ONCE = 8
"""Prompts in a pass through text encoders."""


class Words(nn.Module):
    """What text encoders say of all prompts. It holds no weights, and a state dict does not have it.

    Parameters
    ----------
    texts
        (row, …) by name.
    rows
        (prompt,) which row is each prompt's; those of the same words have one.
    """

    def __init__(self, texts: Texts, rows: Sequence[int]) -> None:
        super().__init__()
        for name, values in texts.items():
            self.register_buffer(name, values, persistent=False)
        self.names = tuple(texts)
        self.register_buffer("rows", torch.tensor(rows), persistent=False)

    def of(self, prompts: Tensor, like: Tensor) -> dict[str, Tensor]:
        """(image, …) by name, of images' prompts (image,), in the precision of another tensor."""
        rows = self.get_buffer("rows")[prompts]
        texts = {name: self.get_buffer(name)[rows] for name in self.names}
        return {name: values.to(like.dtype) if values.is_floating_point() else values for name, values in texts.items()}


_LATEST: dict[Hashable, dict[str, Tensor]] = {}
"""What text encoders said the last time."""


def words_of(prompts: Sequence[str], nothing: bool, encode: Encode, known_by: Hashable = None) -> Words:
    """What text encoders say of prompts.

    Parameters
    ----------
    prompts
        As a recipe has them.
    nothing
        Whether guidance leads away from the empty prompt, which then is one more, the last.
    known_by
        What decides, beside the prompts, what the encoders say; None: never taken from memory.
    """
    distinct = list(dict.fromkeys(prompts))
    key = (known_by, tuple(distinct), nothing, target_device())
    texts = _LATEST.get(key)
    if texts is None:
        parts = [encode(distinct[start : start + _AT_ONCE], False) for start in range(0, len(distinct), _AT_ONCE)]
        if nothing:
            parts.append(encode([""], True))
        texts = {name: torch.cat([part[name] for part in parts]).detach() for name in parts[0]}
        if known_by is not None:
            _LATEST.clear()
            _LATEST[key] = texts
    row = {prompt: number for number, prompt in enumerate(distinct)}
    return Words(texts, [*(row[prompt] for prompt in prompts), *([len(distinct)] if nothing else [])])


def invented(shapes: Mapping[str, tuple[int, ...]]) -> Encode:
    """Of random weights: normal numbers that depend on a prompt's words alone, in place of an untrained encoder's."""

    def encode(prompts: Sequence[str], plain: bool) -> dict[str, Tensor]:
        rows = [_invent(prompt, shapes) for prompt in prompts]
        return {name: torch.stack([row[name] for row in rows]) for name in shapes}

    return encode


def _invent(prompt: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    on = torch.empty(0).device
    random = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:7], "big"))
    drawn = None if on.type == "meta" else random
    return {
        name: torch.ones(shape, dtype=torch.int64) if name == "mask" else torch.randn(shape, generator=drawn)
        for name, shape in shapes.items()
    }


def encoders(kind: Kind, load: Callable[[], Any], origin: str, shapes: Mapping[str, tuple[int, ...]]) -> Encode:
    """Text encoders, which are loaded when first asked and live as long as the function that is returned.

    Parameters
    ----------
    load
        Gives the library's pipeline with text encoders and tokenizers, whatever else it lacks.
    origin
        What errors call it.
    shapes
        What the transformer takes, which the encoders must give, but for the number of tokens.
    """
    loaded = cache(load)
    return lambda prompts, plain: _encoded(kind, loaded(), prompts, plain, shapes, origin)


def _encoded(
    kind: Kind, pipeline: Any, prompts: Sequence[str], plain: bool, shapes: Mapping[str, tuple[int, ...]], origin: str
) -> dict[str, Tensor]:
    device = target_device()
    try:
        with torch.inference_mode(False), torch.no_grad():
            for part in kind.encoders:
                if getattr(pipeline, part) is not None:
                    getattr(pipeline, part).to(device)
            encoded = kind.encode(pipeline, prompts, plain, device)
        texts = {name: values.cpu() for name, values in encoded.items()}
    except Exception as error:  # a tokenizer may lack anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(f"{origin}: its text encoders cannot read the prompts: {reason}") from None
    for name, values in texts.items():
        if tuple(values.shape[2:]) != shapes[name][1:] or values.ndim != 1 + len(shapes[name]):
            raise UserError(
                f"{origin}: its text encoders give {tuple(values.shape[1:])} for a prompt, where its transformer takes "
                f"{shapes[name]}; save a pipeline whose parts belong together"
            )
    return texts


def stamp(kind: Kind, folder: Folder) -> Hashable:
    """What tells a folder's text encoders from others: their files, as long as these do not change; None if remote."""
    parts = saved.text_classes(kind, folder)
    paths = [Path(folder.file(f"{part}/{file}").url) for part in parts for file in saved.text_files(folder, part)]
    if not all(path.is_file() for path in paths):
        return None
    stats = [(str(path.resolve()), path.stat()) for path in paths]
    return (kind.pipeline, kind.words, *((path, one.st_size, one.st_mtime_ns) for path, one in stats))


def from_folder(kind: Kind, folder: Folder) -> Any:
    """The library's pipeline with no more than the text encoders and tokenizers of a folder.

    Raises
    ------
    UserError
        They cannot be loaded.
    """
    library()
    import transformers

    named = saved.text_classes(kind, folder)
    with _quiet(transformers):
        parts = {part: _load(getattr(transformers, name, None), folder, part) for part, name in named.items()}
    if kind.optional - named.keys():
        # Without an encoder, the pipeline looks up how wide the transformer takes what it would have said.
        config = saved.read_configs(folder)["transformer"]
        made, chosen = settings("transformer", config, f"weights {folder.text!r}", kind.classes)
        with torch.device("meta"):
            parts["transformer"] = made(**chosen)
    rest = dict.fromkeys(signature(kind.made.__init__).parameters.keys() - {"self", "is_distilled"})
    return kind.made(**{**rest, **parts})


def _load(kind: Any, folder: Folder, part: str) -> Any:
    """A component out of its own files alone, of which none can run."""
    origin = f"weights {folder.text!r}"
    if kind is None:
        raise UserError(f"{origin}: the installed transformers have no class for its {part}; install a newer one")
    files = saved.text_files(folder, part)
    pieces = next((file for file in files if file.endswith(".model")), None)
    if pieces and "tokenizer.json" not in files and not _reads_pieces():
        raise UserError(
            f"{origin}: {part}/{pieces} can be read with sentencepiece and protobuf only; pip install "
            "'rosetta-mine[diffusion]'"
        )
    is_encoder, gaps = part.startswith("text_encoder"), {}
    with tempfile.TemporaryDirectory() as copy:
        for file in files:
            _bring(folder, f"{part}/{file}", Path(copy, file))
        try:
            if is_encoder:
                loaded, gaps = kind.from_pretrained(
                    copy, local_files_only=True, use_safetensors=True, dtype="auto", output_loading_info=True
                )
            else:
                loaded = kind.from_pretrained(copy, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # files of anybody's, read by code that expects its own
            reason = " ".join(f"{type(error).__name__}: {error}".replace(copy, part).split())[:200]
            raise UserError(f"{origin}: transformers cannot load its {part}: {reason}") from None
    lacking = [str(name) for kind in ("missing_keys", "mismatched_keys") for name in gaps.get(kind) or ()]
    if lacking:
        raise UserError(f"{origin}: its {part} lacks the tensor {lacking[0]}; save the pipeline again")
    return loaded.eval() if is_encoder else loaded


def _reads_pieces() -> bool:
    """Whether there is what transformers reads models of sentencepiece with."""
    try:
        return all(find_spec(name) for name in ("sentencepiece", "google.protobuf"))
    except ModuleNotFoundError:  # of a package's parent
        return False


def _bring(folder: Folder, name: str, target: Path) -> None:
    """A file of a folder at a place of this machine."""
    there = Path(folder.url, name)
    if "://" not in folder.url and there.is_file():
        target.symlink_to(there.resolve())
        return
    with folder.file(name).open() as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy)


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without the library's chatter inside."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
