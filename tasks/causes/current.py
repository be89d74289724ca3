"""Whether what a run's units were found to cause is still true of its units."""

from rosetta.errors import UserError
from storage.artifacts import tables
from storage.artifacts.catalogue import CAUSES
from storage.filesystem.root import Root
from storage.run.data import RunData
from tasks.causes.run import CausesRun


def current_causes(root: Root) -> str | None:
    """The fingerprint of `tables/causes.parquet`; None where there is none, or the units or images are others by now.

    What a unit causes in another does not depend on how their match is judged, or on the dictionary that has it.
    """
    found = tables.attributes(root, CAUSES.path())
    depends = found.get("depends", {})
    try:
        models, count = tuple(depends["models"]), int(depends["settings"]["images"])
        run = CausesRun(RunData.open(root.url, needs=()), "cpu")
        same = run.seen(models, run.images(count))
    except (UserError, KeyError, TypeError, ValueError, OSError):  # of a run that is not finished, too
        return None
    return str(found["fingerprint"]) if all(depends.get(part) == same[part] for part in same) else None
