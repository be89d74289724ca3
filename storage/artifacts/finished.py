"""Whether an artifact is there, complete, and made from what it should be made from."""

from storage.artifacts import tables
from storage.artifacts.artifact import Artifact
from storage.artifacts.layout import attributes_at
from storage.artifacts.shared import Place


def is_finished(place: Place, artifact: Artifact, digest: str) -> bool:
    """Whether the artifact in a place is complete and has this fingerprint.

    Raises
    ------
    UserError
        It is a store whose metadata is damaged.
    """
    if artifact.kind == "store":
        stored = attributes_at(place)
        return stored is not None and bool(stored["complete"]) and stored["fingerprint"] == digest
    if artifact.kind == "table":
        return tables.attributes(place.root, place.path).get("fingerprint") == digest
    # The index of a folder is written last, and carries the fingerprint.
    file = index_of(place.path, artifact)
    return place.root.exists(file) and digest.encode() in place.root.read_bytes(file)


def index_of(path: str, artifact: Artifact) -> str:
    """The file that carries the fingerprint of a folder; of any other artifact its own path."""
    return f"{path}/{artifact.index}" if artifact.index else path
