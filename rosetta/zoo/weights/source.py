"""Where weights come from: a file, a library's own download, or a seed."""

import hashlib
import importlib.util
import json
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import fsspec
import torch
from fsspec.implementations.local import LocalFileSystem
from torch import nn

from rosetta.errors import UserError, nearest

_BLOCK = 1 << 20
INDEX = ".index.json"
"""How the name of an index of shards ends."""


@dataclass(frozen=True)
class FromSeed:
    """No weights but an initialisation."""

    seed: int
    """Of the random numbers it draws."""

    def sha256(self) -> str:
        """Of the text that a recipe holds."""
        return hashlib.sha256(f"random:{self.seed}".encode()).hexdigest()


@dataclass(frozen=True)
class FromLibrary:
    """What the model's own library downloads or makes."""


@dataclass(frozen=True)
class FromFile:
    """A checkpoint."""

    text: str
    """As the recipe names it; errors do too."""
    url: str
    """Where it lies, for fsspec."""

    @property
    def suffix(self) -> str:
        """Lower-case ending of the file name."""
        return PurePosixPath(self.url.partition("?")[0]).suffix.lower()

    @property
    def keeps_order(self) -> bool:
        """Whether the tensors lie in the file in the order of the model that was saved."""
        return self.suffix != ".safetensors"

    @property
    def folder(self) -> "Folder":
        """The same place, for the families whose weights are several files."""
        return Folder(self.text, self.url)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The file's bytes.

        Raises
        ------
        UserError
            It does not exist or cannot be read.
        """
        try:
            filesystem, path = fsspec.core.url_to_fs(self.url)
            if filesystem.isdir(path) and isinstance(filesystem, LocalFileSystem):
                raise UserError(f"weights {self.text!r} is a folder; name the file inside it")
            file = filesystem.open(path, "rb")
        except FileNotFoundError:
            raise UserError(f"weights {self.text!r}: no such file; correct the path, or put the file there") from None
        except UserError:
            raise
        except Exception as error:  # every backend has its own
            raise UserError(f"weights {self.text!r} cannot be opened: {_line(error)}") from None
        with file:
            yield file

    def sha256(self) -> str:
        """Of the file's bytes, read in pieces."""
        digest = hashlib.sha256()
        with self.open() as file:
            try:
                while block := file.read(_BLOCK):
                    digest.update(block)
            except OSError as error:
                raise UserError(f"weights {self.text!r} cannot be read: {_line(error)}") from None
        return digest.hexdigest()


@dataclass(frozen=True)
class Folder:
    """Several files under one name, for the families that take such weights; which files is theirs to say."""

    text: str
    """As the recipe names it; errors do too."""
    url: str
    """Where it lies, for fsspec."""

    def file(self, name: str) -> FromFile:
        """One of its files; `name` is relative to the folder."""
        return FromFile(f"{self.text.rstrip('/')}/{name}", f"{self.url.rstrip('/')}/{name}")

    def has(self, name: str) -> bool:
        """Whether there is a file of that name.

        Raises
        ------
        UserError
            The folder cannot be looked into.
        """
        try:
            filesystem, path = fsspec.core.url_to_fs(self.file(name).url)
            return bool(filesystem.isfile(path))
        except Exception as error:  # every backend has its own
            raise UserError(f"weights {self.text!r} cannot be opened: {_line(error)}") from None

    def sha256(self, names: Iterable[str]) -> str:
        """Of lines `<sha256>  <name>`, one for each of the named files, sorted by name: what sha256sum prints."""
        lines = [f"{self.file(name).sha256()}  {name}\n" for name in sorted(names)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Shards:
    """One checkpoint in several files, with an index that says which tensor lies in which."""

    text: str
    """As the recipe names it; errors do too."""
    folder: Folder
    """Where they lie."""
    index: str
    """Name of the index there, `model.safetensors.index.json` say."""

    @property
    def keeps_order(self) -> bool:
        """Never: an index is sorted by name."""
        return False

    def files(self) -> list[FromFile]:
        """The shards, sorted by name.

        Raises
        ------
        UserError
            The index cannot be read, or names files that are not beside it.
        """
        with self.folder.file(self.index).open() as stream:
            try:
                names = set(json.load(stream)["weight_map"].values())
            except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError):
                raise UserError(
                    f"weights {self.text!r}: {self.index} is not an index of shards; copy it again"
                ) from None
        strangers = [name for name in names if not (isinstance(name, str) and re.fullmatch(r"[\w.-]+", name))]
        if strangers or not names:
            named = ascii(strangers[0])[:100] if strangers else "no file"
            raise UserError(f"weights {self.text!r}: {self.index} names {named}; it must name files beside it")
        return [self.folder.file(name) for name in sorted(names)]

    def sha256(self) -> str:
        """As :meth:`Folder.sha256`, of the index and all shards."""
        names = [file.url.rpartition("/")[2] for file in self.files()]
        return self.folder.sha256([self.index, *names])


Weights = FromSeed | FromLibrary | FromFile


def sharded(file: FromFile) -> FromFile | Shards:
    """The shards that a file indexes, or that lie in what is a folder with one index; else the file itself."""
    if file.url.endswith(INDEX):
        folder, _, name = file.url.rpartition("/")
        return Shards(file.text, Folder(file.text.rpartition("/")[0] or ".", folder or "."), name)
    path = Path(file.url.removeprefix("file://"))
    indices = sorted(path.glob(f"*{INDEX}")) if path.is_dir() else []
    return Shards(file.text, file.folder, indices[0].name) if len(indices) == 1 else file


def parse_weights(text: str) -> Weights:
    """Read a recipe's `weights`; opens nothing.

    Raises
    ------
    UserError
        A seed that is no whole number, a package that is not installed, or a path that leaves it.
    """
    if text == "pretrained":
        return FromLibrary()
    if text.startswith("random:"):
        seed = text.removeprefix("random:")
        if not re.fullmatch(r"[0-9]{1,19}", seed) or int(seed) >= 2**63:
            raise UserError(f"weights {text!r}: the seed must be a whole number from 0, like random:0")
        return FromSeed(int(seed))
    if text.startswith("package:"):
        return FromFile(text, str(_in_package(text)))
    if not text.strip():
        raise UserError("weights is empty; give a file, package:<package>/<file>, pretrained or random:<seed>")
    return FromFile(text, text)


def tensors_sha256(module: nn.Module) -> str:
    """Of the names, types, shapes and bytes of all tensors in a module's state dict."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def forked_rng(seed: int | None) -> Iterator[None]:
    """Whatever is drawn inside, on the CPU, leaves torch's global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            # Not torch.manual_seed, which would also seed the accelerators for good.
            torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def quiet_hub() -> Iterator[None]:
    """The hub's client does not tell of each retry while it cannot be reached; an error says once what failed."""
    with suppress(ImportError):
        import huggingface_hub.utils.logging  # noqa: F401  # sets a level of its own once it is imported
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        hub.setLevel(level)


def _in_package(text: str) -> Path:
    package, slash, inside = text.removeprefix("package:").partition("/")
    if not (package and slash and inside):
        raise UserError(f"weights {text!r} is incomplete; write package:<package>/<file>")
    if not package.isidentifier():
        raise UserError(f"weights {text!r}: {package!r} is no name of a package that Python can import")
    try:
        # Of a top-level package this reads no more than the import path; nothing of the package runs.
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError, AttributeError):
        spec = None
    folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
    if not folders:
        raise UserError(f"weights {text!r}: package {package!r} is not installed; install it with pip")
    parts = PurePosixPath(inside).parts
    candidates = [folder.joinpath(*parts) for folder in folders]
    for folder, file in zip(folders, candidates, strict=True):
        if ".." in parts or "\\" in inside or not file.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"weights {text!r} leaves the package {package!r}; name a file inside it")
    found = next((file for file in candidates if file.is_file()), None)
    if found is None:
        files = [
            path.relative_to(folder).as_posix()
            for folder in folders
            for path in folder.rglob("*")
            if path.is_file() and path.suffix not in (".py", ".pyc")
        ]
        raise UserError(f"weights {text!r}: package {package!r} has no file {inside!r}{nearest(inside, files)}")
    return found


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]
