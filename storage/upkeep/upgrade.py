"""Rewrites a root of format 2 in this format, in place: artifact by artifact, in the order of the catalogue.

A store is written again under `upgrade/`, read back and compared, and then replaces the old one. Object stores cannot
rename, so the journal first records that the new store is complete. If the upgrade is cut short before that, the old
store is valid and the new one is written again; after that, the next upgrade finishes the replacement. At most one
store exists twice. Each artifact records the fingerprint that it had, so that artifacts that depend on it are
recognised, in this root and in those that share it.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy.typing as npt

from rosetta.errors import UserError
from storage.artifacts import agreed, layout, tables
from storage.artifacts.attributes import encode
from storage.artifacts.catalogue import ACTIVATIONS, AGREED, IMAGES, SHARED, UPGRADE, USERS, Instance
from storage.artifacts.fingerprint import FORMAT, Fingerprint, format_of
from storage.artifacts.images import ImageStore
from storage.artifacts.provenance import RECIPE, stored_recipe
from storage.artifacts.seals import break_seal, discard
from storage.artifacts.shared import Place, place_of, shared_places
from storage.artifacts.store import ModelStore
from storage.filesystem.lock import lock_of, locked
from storage.filesystem.root import Root
from storage.upkeep.check import check_root, check_search
from storage.upkeep.decoded import decoded_columns
from storage.upkeep.expected import begun
from storage.upkeep.format_2 import Old, rewrite
from storage.upkeep.formats import JOURNAL, format_of_root
from storage.upkeep.sealing import seal_finished, seal_guided

OLDEST = 2
"""The oldest format that can be upgraded."""
_BEFORE = "upgraded_from"
"""Attribute of an artifact that was upgraded: the format and fingerprint that it had."""


@dataclass
class Upgrade:
    """An upgrade of a root, for the process that holds it."""

    root: Root
    rewritten: list[str] = field(default_factory=list)
    """Paths of what has been rewritten."""
    removed: list[str] = field(default_factory=list)
    """Paths of what had nothing to keep, and is built anew."""
    _gone: dict[str, str] = field(default_factory=dict)
    """Fingerprints that these will have, by what they were: others depend on them."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"root": self.root.shown, "rewritten": self.rewritten, "removed": self.removed}

    @property
    def has_work(self) -> bool:
        """Whether the root is of an older format, or an upgrade of it was cut short."""
        return self.root.exists(JOURNAL) or format_of_root(self.root) < FORMAT

    def begin(self) -> None:
        """Check the whole root before anything is changed, or finish what was cut short.

        Raises
        ------
        UserError
            The root is damaged, too old, or shares stores of an older format.
        """
        if (version := format_of_root(self.root)) < OLDEST:
            raise UserError(f"{self.root.shown} is of format {version}, too old to upgrade; mine it again")
        for path, place in shared_places(self.root).items():
            if format_of(layout.attributes_at(place) or {}) < FORMAT:
                raise UserError(
                    f"{self.root.shown} shares {path} of {place.root.shown}, which is of an older format; run rosetta"
                    f" upgrade {place.root.shown} first"
                )
        if not self.root.exists(JOURNAL):
            # A root without a run of its own holds what others share.
            has_run = self.root.exists(RECIPE)
            findings = check_root(self.root) if has_run else check_search(self.root, begun(self.root))
            damaged = [one for one in findings if one.kind in ("file", "chunk", "seal")]
            if damaged:
                raise UserError(
                    f"{damaged[0].shown} {damaged[0].problem}, so nothing was upgraded; run rosetta mine RECIPE --mend,"
                    " then upgrade again"
                )
            self._note(None)
        self._finish_replacing()

    def artifacts(self, advance: Callable[[int], None] = lambda _: None) -> None:
        """Rewrite all artifacts but pages of runs, and what is known of fingerprints beside them.

        Parameters
        ----------
        advance
            Called for each one.

        Raises
        ------
        UserError
            Values that were read back are not those that were written, or another process is at work on an artifact.
        """
        for instance in self.own:
            self._upgrade(instance)
            advance(1)
        if self.root.exists(AGREED):
            self._rewrite_agreed()

    @cached_property
    def own(self) -> list[Instance]:
        """What there is under the root itself."""
        return [one for one in begun(self.root) if place_of(self.root, one.path).root == self.root]

    def end(self) -> None:
        """Seal what is finished, and forget that there was an upgrade."""
        seal_finished(self.root)
        for search in self.own:
            if search.artifact.per == "search" and search.artifact.kind == "folder" and self.root.exists(search.index):
                with locked(self.root, lock_of(search.path)):
                    seal_guided(self.root, search.path)
        for name in self.root.list(UPGRADE):
            if (path := f"{UPGRADE}/{name}") != JOURNAL:
                self.root.remove(path)
        self.root.remove(UPGRADE)

    @cached_property
    def known(self) -> dict[str, str]:
        """Fingerprints now by what they were, of all that has been upgraded."""
        found = dict(self._gone)
        for instance in begun(self.root):
            attributes = self._attributes(instance)
            if _BEFORE in attributes:
                found[str(attributes[_BEFORE]["fingerprint"])] = str(attributes["fingerprint"])
        return found

    def _attributes(self, instance: Instance) -> Mapping[str, Any]:
        if instance.artifact.kind == "store":
            return layout.attributes_at(place_of(self.root, instance.path)) or {}
        return tables.attributes(self.root, instance.path) if instance.artifact.kind == "table" else {}

    def _upgrade(self, instance: Instance) -> None:
        artifact, path = instance.artifact, instance.path
        lock: AbstractContextManager[None] = nullcontext()
        if artifact.per == "search":
            lock = locked(self.root, lock_of(path.rpartition("/")[0] if artifact.kind == "store" else path))
        elif artifact.shareable and self.root.list(USERS):
            lock = locked(self.root, lock_of(path))
        with lock:
            if artifact.kind == "store":
                self._upgrade_store(instance)
            elif artifact.kind == "table":
                self._upgrade_table(path, instance.names)
            elif artifact.per == "search" and artifact.kind == "folder":
                self._upgrade_search(instance)
            elif artifact is SHARED:
                data = json.loads(self.root.read_bytes(path))
                self._replace(path, json.dumps({**data, "format": FORMAT}, indent=2).encode())

    def _upgrade_store(self, instance: Instance) -> None:
        path, root = instance.path, self.root
        attributes = layout.attributes_at(Place(root, path))
        if attributes is None:  # its layout was cut short
            self._remove(path)
            return
        if format_of(attributes) >= FORMAT:
            return
        staging = Root(f"{root.url}/{UPGRADE}")
        staging.remove(path)
        if root.exists(RECIPE) and not staging.exists(RECIPE):
            staging.write_bytes(RECIPE, root.read_bytes(RECIPE))  # stores name the recipe that they are of
        fingerprint = self._renewed(attributes)
        old = Old(instance, layout.open_to_read(Place(root, path)), fingerprint, self._labels, self._generator)
        group = rewrite(old, staging)
        if group is None:
            staging.remove(path)
            self._gone[attributes["fingerprint"]] = self.known[attributes["fingerprint"]] = fingerprint.digest
            self._note(None)
            self._remove(path)
            return
        before = {_BEFORE: {"format": format_of(attributes), "fingerprint": attributes["fingerprint"]}}
        now = layout.attributes_of(group)
        kept = {key: value for key, value in attributes.items() if key not in now}
        group.update_attributes(encode({**kept, **before, **fingerprint.attributes(), "complete": False}))
        if old.complete:
            layout.complete(group)
        self._note(path)
        self._finish_replacing()
        self._done(path, attributes["fingerprint"], fingerprint)

    @property
    def _labels(self) -> dict[str, npt.NDArray[Any]]:
        place = place_of(self.root, IMAGES.path())
        stored = layout.attributes_at(place)
        return {} if stored is None else ImageStore(layout.open_to_read(place)).coordinates()

    @cached_property
    def _generator(self) -> str:
        for instance in begun(self.root, lambda artifact: artifact is ACTIVATIONS):
            if self._attributes(instance).get("generator"):
                return instance.names[0]
        return ""

    def _upgrade_table(self, path: str, names: tuple[str, ...]) -> None:
        content = self.root.read_bytes(path)
        attributes = tables.attributes_of(content)
        if format_of(attributes) >= FORMAT:
            return
        fingerprint, frame = self._renewed(attributes), tables.decode(content)
        more = {key: value for key, value in attributes.items() if key not in ("fingerprint", "depends", "made_with")}
        more[_BEFORE] = {"format": format_of(attributes), "fingerprint": attributes["fingerprint"]}
        try:
            new = tables.encode(path, frame, fingerprint, self._categories(names), **more)
        except ValueError:  # its columns are those of an earlier version
            new = tables.stamp(content, fingerprint, **more)
        if decoded_columns(tables.decode(new)) != decoded_columns(frame):
            raise UserError(f"{path} reads back with other values than before, so it stays as it was; try again")
        self._replace(path, new)
        self._done(path, attributes["fingerprint"], fingerprint)

    def _categories(self, pair: tuple[str, ...]) -> tables.Categories:
        """Of a table about all models, or about those of a pair."""
        recipe = stored_recipe(self.root)
        names = [spec.name for spec in recipe.models] if recipe else []
        models = sorted(names, key=lambda name: name != self._generator)
        units = {}
        for name in [name for name in models if name in pair] if pair else models:
            place = place_of(self.root, ACTIVATIONS.path(name))
            if layout.attributes_at(place) is not None:
                units[name] = ModelStore(layout.open_to_read(place)).units
        return tables.categories_of(units)

    def _upgrade_search(self, instance: Instance) -> None:
        """Tables of a search, and the fingerprint in its page."""
        for name in self.root.list(instance.path):
            if name.endswith(".parquet"):
                self._upgrade_table(f"{instance.path}/{name}", ())
        if self.root.exists(instance.index):
            page = self.root.read_bytes(instance.index)
            new = page
            for before, after in self.known.items():
                new = new.replace(before.encode(), after.encode())
            if new != page:
                break_seal(self.root, instance.path)
                self.root.write_bytes(instance.index, new)
                self._done(instance.path)

    def _rewrite_agreed(self) -> None:
        renewed = {self.known.get(digest, digest): what for digest, what in agreed.known(self.root).items()}
        self.root.write_bytes(AGREED, json.dumps(renewed).encode())

    def _renewed(self, attributes: Mapping[str, Any]) -> Fingerprint:
        depends = _renamed(attributes["depends"], self.known)
        return Fingerprint(depends, attributes.get("made_with", {})).in_format(FORMAT)

    def _replace(self, path: str, content: bytes) -> None:
        if self.root.read_bytes(path) != content:
            break_seal(self.root, path)
            self.root.write_bytes(path, content)

    def _remove(self, path: str) -> None:
        discard(self.root, path)
        self.removed.append(path)

    def _done(self, path: str, before: str = "", now: Fingerprint | None = None) -> None:
        self.rewritten.append(path)
        if now is not None:
            self.known[before] = now.digest

    def _note(self, path: str | None) -> None:
        """Say which store is being replaced by the one under `upgrade/`, if any."""
        self.root.write_bytes(JOURNAL, json.dumps({"replacing": path, "gone": self._gone}).encode())

    def _finish_replacing(self) -> None:
        try:
            journal = dict(json.loads(self.root.read_bytes(JOURNAL)))
            path, self._gone = journal["replacing"], dict(journal["gone"])
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{JOURNAL} under {self.root.shown} is damaged; move the stores that are under {UPGRADE}/ and missing"
                f" beside it to their places, then remove {UPGRADE}/"
            ) from None
        if path is not None:
            staged = f"{UPGRADE}/{path}"
            if self.root.exists(staged):
                discard(self.root, path)
                self.root.move(staged, path)
            self._note(None)
            self.root.remove(staged)


def _renamed(value: Any, known: Mapping[str, str]) -> Any:
    """Plain data with fingerprints as they are now."""
    if isinstance(value, str):
        return known.get(value, value)
    if isinstance(value, list):
        return [_renamed(one, known) for one in value]
    return {key: _renamed(one, known) for key, one in value.items()} if isinstance(value, dict) else value
