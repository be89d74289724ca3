"""The command `rosetta shelf`: one page over many runs."""

from flows.command.json_output import Json, print_json


def shelf(folder: str, /, *, out: str, link: bool = False, replace: bool = False, as_json: Json = False) -> None:
    """Write a page over all runs, joins, comparisons and studies below a folder, with a search over their concepts.

    The page opens from disk and from any web host. Nothing is written into the runs.

    Parameters
    ----------
    folder
        Any fsspec URL.
    out
        Where the page goes, any fsspec URL: a new folder, or the shelf that is there.
    link
        Link to the pages of the runs, rather than copy them. OUT then lies below FOLDER, which goes on the host as a
        whole.
    replace
        Replace the shelf of another folder.
    """
    from tasks.shelf.write import plan_shelf, write_shelf

    page = write_shelf(plan_shelf(folder, out, link, replace))
    unfinished = [entry for entry in page.entries if entry.problem]
    if as_json:
        keys = ("kind", "name", "path", "page", "problem", "command")
        entries = [{key: getattr(entry, key) for key in keys} for entry in page.entries]
        print_json({"folder": folder, "page": f"{out}/index.html", "entries": entries})
        return
    print(", ".join(page.counts))
    for entry in unfinished:
        print(f"{entry.path or '.'}: {entry.problem}; {entry.command}")
    print(f"Shelf: {out.rstrip('/')}/index.html")
