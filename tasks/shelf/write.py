"""Writing a shelf: copies of pages, what the search looks through, and the page itself last."""

import json
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePosixPath

from rosetta.errors import UserError
from rosetta.view.shelf.contents import ShelfPage
from rosetta.view.shelf.page import DATA, render_shelf, search_data
from storage.filesystem.root import Root
from tasks.shelf.copies import files_of_pages
from tasks.shelf.entries import read_entry
from tasks.shelf.find import MARKER, Found, find_roots, kind_of

_OWN = ("data", "roots")
"""Folders of a shelf, whose files are all its own."""


@dataclass(frozen=True)
class ShelfPlan:
    """What goes onto a shelf, and where."""

    folder: Root
    site: Root
    link: bool
    found: tuple[Found, ...]

    @property
    def marker(self) -> bytes:
        """`shelf.json`: of which folder this is a shelf, by a digest, since where it lies is nobody's business."""
        digest = sha256(self.folder.absolute.url.encode("utf-8", "surrogatepass")).hexdigest()
        return json.dumps({"folder_sha256": digest}).encode()

    def base(self, found: Found) -> str:
        """Path from the shelf to the pages of a root."""
        if not self.link:
            return found.site_path
        return os.path.relpath(_place(found.root), _place(self.site)).replace(os.sep, "/")


def plan_shelf(folder_url: str, site_url: str, link: bool = False, replace: bool = False) -> ShelfPlan:
    """Find what goes onto a shelf and check where it goes; nothing is written.

    Raises
    ------
    UserError
        There is no such folder or nothing in it, or the shelf cannot lie where it should.
    """
    folder, site = Root(folder_url).absolute, Root(site_url).absolute
    if not folder.filesystem.isdir(folder.path("")):
        raise UserError(f"{folder_url}: there is no such folder; give one that holds runs")
    found = find_roots(folder)
    if not found:
        raise UserError(f"{folder_url} holds no run, join, comparison or study; give a folder that holds some")
    inside = [one.root for one in found if one.path and _is_below(site, one.root)]
    for place in inside or _roots_above(site):
        raise UserError(f"--out {site_url} lies in the root {place.shown}; choose a folder beside it")
    if link and not _is_below(site, folder):
        raise UserError(f"--link needs --out below {folder_url}, which is then put on the host as a whole")
    plan = ShelfPlan(folder, site, link, tuple(found))
    there = site.entries("")
    if there and MARKER not in there:
        raise UserError(f"--out {site_url} is not empty and no shelf; choose another folder")
    if there and not replace and site.read_bytes(MARKER) != plan.marker:
        raise UserError(f"--out {site_url} is the shelf of another folder; --replace replaces it")
    return plan


def write_shelf(plan: ShelfPlan) -> ShelfPage:
    """Write the shelf. What is there already stays as it is; what no root has any more is removed.

    Returns
    -------
    ShelfPage
        What it shows.
    """
    site = plan.site
    site.require_writable()
    _put(site, MARKER, plan.marker)
    written = {DATA}
    for one in () if plan.link else plan.found:
        for path in files_of_pages(one.root, one.kind):
            target = f"{one.site_path}/{path}"
            _put(site, target, one.root.read_bytes(path))
            written.add(target)
    title = _place(plan.folder).name or "Shelf"
    page = ShelfPage(title, tuple(read_entry(one, plan.base(one)) for one in plan.found))
    _put(site, DATA, search_data(page))
    _put(site, "index.html", render_shelf(page).encode())
    for path in [path for own in _OWN for path in site.find(own)]:
        if path not in written:
            site.remove(path)
    return page


def _put(site: Root, path: str, content: bytes) -> None:
    if not site.exists(path) or site.read_bytes(path) != content:
        site.write_bytes(path, content)


def _place(root: Root) -> PurePosixPath:
    """Where a root lies in its file system, symbolic links on a local disk followed."""
    return PurePosixPath(os.path.realpath(root.local) if root.local else root.filesystem._strip_protocol(root.url))


def _is_below(inner: Root, outer: Root) -> bool:
    same = type(inner.filesystem) is type(outer.filesystem)
    return same and _place(inner).is_relative_to(_place(outer))


def _roots_above(site: Root) -> list[Root]:
    """Roots on a local disk in which a place lies."""
    if site.local is None:
        return []
    above = [Root(str(place)) for place in (_place(site), *_place(site).parents)]
    return [place for place in above if kind_of(place.entries("")) is not None]
