"""Read a whole run and name what is damaged. Every chunk carries a checksum, so reading it checks it."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import zarr

from storage import tables
from storage.location import Root
from storage.status import TABLES, guided, require_run, stores
from storage.zarrs import store_of


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written."""

    artifact: str
    problem: str

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def check_root(root: Root) -> list[Finding]:
    """Read every chunk of every store and every table of a run.

    Raises
    ------
    UserError
        There is no run under this root.
    """
    require_run(root)
    found = [finding for path in stores(root) for finding in _check_store(root, path)]
    return [*found, *_check_tables(root), *_check_parts(root), *_check_guided(root)]


def _check_store(root: Root, path: str) -> Iterator[Finding]:
    try:
        group = zarr.open_group(store_of(root, path, read_only=True), mode="r", use_consolidated=False)
        members = list(group.members(max_depth=None))
    except Exception as error:  # whatever a damaged metadata file makes zarr raise
        yield Finding(path, f"its metadata cannot be read ({_short(error)})")
        return
    if not group.attrs.get("complete"):
        yield Finding(path, "is not finished; the command that began it goes on with it")
        return
    for name, member in members:
        if isinstance(member, zarr.Array):
            yield from _check_array(f"{path}/{name}", member)


def _check_array(path: str, array: zarr.Array) -> Iterator[Finding]:
    chunk, length = array.chunks[0], array.shape[0]
    for start in range(0, length, chunk):
        span = slice(start, min(start + chunk, length))
        try:
            array[span]
        except Exception as error:  # a checksum, a codec, a shape: any way in which bytes can be wrong
            yield Finding(
                path,
                f"entries {span.start} to {span.stop - 1} of {_first(array)} are damaged ({_short(error)})",
            )
    if missing := array.nchunks - array.nchunks_initialized:
        yield Finding(path, f"{missing} of {array.nchunks} chunks are missing")


def _check_tables(root: Root) -> Iterator[Finding]:
    for table in TABLES:
        if not root.exists(tables.path(table)):
            yield Finding(tables.path(table), "is missing; rosetta mine writes it")
            continue
        try:
            tables.read(root, table)
        except Exception as error:  # pyarrow raises many kinds
            yield Finding(tables.path(table), f"cannot be read ({_short(error)})")


def _check_parts(root: Root) -> Iterator[Finding]:
    """The tables that `tables/trust.parquet` is joined from."""
    for name in root.list("tables/trust"):
        try:
            tables.read(root, f"trust/{name.removesuffix('.parquet')}")
        except Exception as error:  # pyarrow raises many kinds
            yield Finding(f"tables/trust/{name}", f"cannot be read ({_short(error)})")


def _check_guided(root: Root) -> Iterator[Finding]:
    """The tables beside inversions and edits; one that is not there yet belongs to a search that is not finished."""
    for place in guided(root):
        for name in root.list(place):
            if name.endswith(".parquet"):
                try:
                    tables.decode(root.read_bytes(f"{place}/{name}"))
                except Exception as error:  # pyarrow raises many kinds
                    yield Finding(f"{place}/{name}", f"cannot be read ({_short(error)})")


def _first(array: zarr.Array) -> str:
    names: Any = getattr(array.metadata, "dimension_names", None)
    return str(names[0]) if names else "the first axis"


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
