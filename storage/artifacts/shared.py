"""Stores that a run has under another root than its own: `[images] from` in its recipe.

`shared.json` under the run's root gives the locations of shared stores, and whatever opens a store asks here
(:func:`place_of`). The other root lists its users (`users/`), so that prune keeps what one of them needs.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from rosetta.errors import UserError
from storage.artifacts.attributes import decode
from storage.artifacts.catalogue import IMAGES, SHARED, USERS, instance_at, instances
from storage.artifacts.fingerprint import FORMAT, Fingerprint, depends_of, first_difference, require_known
from storage.artifacts.seals import break_seal, discard, sha256
from storage.filesystem.lock import lock_of, locked
from storage.filesystem.root import Root

_FILE = SHARED.path()
_READERS = 16
"""Threads that read the metadata of many stores, most of the time waiting for an object store."""


@dataclass(frozen=True)
class Place:
    """Where a store lies."""

    root: Root
    """The run's own, or the one that it shares."""
    path: str
    """Under that root."""


@dataclass(frozen=True)
class User:
    """A run that has stores under a root that is not its own."""

    root: Root
    """Of the run."""
    stores: tuple[str, ...]
    """Paths of what it needs, under the shared root, as of its last start."""
    entry: str
    """Where the shared root keeps this."""


def place_of(root: Root, path: str) -> Place:
    """Where a run's store lies or will lie.

    Parameters
    ----------
    path
        What the run calls it, `activations/<model>.zarr` say.

    Raises
    ------
    UserError
        `shared.json` is damaged.
    """
    own = Place(root, path)
    return shared_places(root).get(path, own) if _is_shareable(path) else own


def _is_shareable(path: object) -> bool:
    instance = instance_at(path) if isinstance(path, str) else None
    return instance is not None and instance.artifact.shareable


def shared_places(root: Root) -> dict[str, Place]:
    """By path: the stores of a run that lie under another root; none where it keeps all of its own.

    Raises
    ------
    UserError
        `shared.json` is damaged, or of a newer version of this project.
    """
    try:
        content = root.read_bytes(_FILE)
    except FileNotFoundError:
        return {}
    try:
        data: Any = json.loads(content)
        version = int(data["format"])
        home, stores = Root(str(data["from"])), dict(data["stores"])
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{_FILE} under {root.shown} is damaged; rosetta mine with the run's recipe writes it again"
        ) from None
    require_known(version, f"{_FILE} under {root.shown}")
    for path in (*stores, *stores.values()):
        if not _is_shareable(path):
            raise UserError(f"{_FILE} under {root.shown} names {path!r}, which runs cannot share")
    return {path: Place(home, there) for path, there in stores.items()}


def choose(root: Root, home: Root, fingerprints: Mapping[str, Fingerprint]) -> dict[str, Place]:
    """Where the stores of a run lie or will lie that it does not hold itself.

    A store with the right fingerprint is used, whatever its name there. One that is not there yet gets the name that
    the run has for it, or where that is taken this name and the fingerprint's beginning.

    Parameters
    ----------
    home
        The root to share.
    fingerprints
        By path under the run's root.

    Raises
    ------
    UserError
        `home` has other images, or shares a third root's.
    """
    _require_end(root, home)
    stored = {path: str(attributes["fingerprint"]) for path, attributes in store_attributes(home).items()}
    named = {digest: path for path, digest in reversed(stored.items())}
    chosen = {}
    for path, one in fingerprints.items():
        instance = instance_at(path)
        assert instance is not None
        if root.exists(instance.index):
            continue
        if stored.get(path) == one.digest:
            there = path
        elif one.digest in named:
            there = named[one.digest]
        elif path not in stored:
            there = path
        elif instance.artifact is IMAGES:
            difference = first_difference(depends_of(_attributes(home, path)), one.depends)
            raise UserError(f"images.from: {home.shown} has other images ({difference}); give another root, or none")
        elif not instance.names:
            continue
        else:
            there = instance.artifact.path(f"{instance.names[0]}-{one.digest[:8]}")
        chosen[path] = Place(home, there)
    return chosen


def _require_end(root: Root, home: Root) -> None:
    if home.absolute == root.absolute:
        raise UserError(f"images.from is the run's own root {root.shown}; leave it out or give another --root")
    if further := shared_places(home):
        end = next(iter(further.values())).root
        raise UserError(f"images.from: {home.shown} has its stores from {end.shown}; give that one")


def store_attributes(home: Root) -> dict[str, dict[str, Any]]:
    """By path: the attributes of every store under a root that runs may share and that has been laid out."""
    paths = [instance.path for instance in instances(home, lambda artifact: artifact.shareable)]
    with ThreadPoolExecutor(_READERS) as pool:
        found = pool.map(lambda path: _attributes(home, path), paths)
        return {path: attributes for path, attributes in zip(paths, found, strict=True) if "fingerprint" in attributes}


def _attributes(home: Root, path: str) -> dict[str, Any]:
    try:
        return decode(json.loads(home.read_bytes(f"{path}/zarr.json"))["attributes"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def link(root: Root, places: Mapping[str, Place], kept: Iterable[str] = ()) -> None:
    """Record under a run's root the locations of its shared stores, and under theirs that it uses them.

    Parameters
    ----------
    kept
        Paths whose recorded location stays.

    Raises
    ------
    OSError
        The shared root cannot be written, and a store is missing there.
    """
    before = shared_places(root)
    now = {**{path: before[path] for path in kept if path in before}, **places}
    homes = {place.root for place in now.values()}
    for home in {place.root for place in before.values()} - {home.absolute for home in homes}:
        home.remove(_entry(root))
    if not now:
        discard(root, _FILE)
        return
    (home,) = homes
    if before != (absolute := {path: Place(home.absolute, place.path) for path, place in now.items()}):
        stores = {path: place.path for path, place in sorted(absolute.items())}
        break_seal(root, _FILE)
        root.write_bytes(_FILE, _content({"format": FORMAT, "from": home.absolute.url, "stores": stores}))
    _register(home, root, sorted(place.path for place in now.values()))


def _register(home: Root, root: Root, stores: list[str]) -> None:
    data: dict[str, Any] = {"format": FORMAT, "root": root.absolute.shown, "stores": stores}
    data["sha256"] = sha256(_content(data))
    entry = _entry(root)
    if home.exists(entry) and home.read_bytes(entry) == _content(data):
        return
    try:
        home.write_bytes(entry, _content(data))
    except OSError:
        # A shared root that is read-only: nobody prunes it from here either.
        if not all(_attributes(home, path).get("complete") for path in stores):
            raise


def _entry(root: Root) -> str:
    return f"{USERS}/{sha256(root.absolute.shown.encode())[:16]}.json"


def _content(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, indent=2).encode()


def users(home: Root) -> list[User]:
    """The runs that have stores under a root.

    Raises
    ------
    UserError
        One of their entries is damaged.
    """
    found = []
    for name in home.list(USERS):
        if not name.endswith(".json"):
            continue
        try:
            data: Any = json.loads(home.read_bytes(f"{USERS}/{name}"))
            if (digest := data.pop("sha256", None)) is not None and digest != sha256(_content(data)):
                raise ValueError
            stores = tuple(str(path) for path in data["stores"])
            found.append(User(Root(str(data["root"])), stores, f"{USERS}/{name}"))
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{USERS}/{name} under {home.shown} is damaged; remove it and mine the run that it stands for again"
            ) from None
    return found


@contextmanager
def turn(root: Root, *paths: str) -> Iterator[None]:
    """Write stores under a shared root alone: another run that needs them waits, and then finds them there.

    The run's own stores are guarded by the lock on its root and need no turn.
    """
    places = sorted({place_of(root, path) for path in paths}, key=lambda place: place.path)
    with ExitStack() as locks:
        for place in places:
            # A finished store is only read; a shared root that is read-only has no other.
            if place.root != root and not _attributes(place.root, place.path).get("complete"):
                locks.enter_context(locked(place.root, lock_of(place.path), wait=True))
        yield
