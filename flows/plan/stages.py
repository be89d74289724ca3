"""The stages of a run in their order: what planning, mining, judging and "is there anything to do" walk over."""

from storage.artifacts.finished import index_of
from tasks.correlate import pair as of_pairs
from tasks.dump.activations import DUMP, GENERATE
from tasks.dump.features import WRITE_FEATURES
from tasks.dump.images import DRAW_IMAGES
from tasks.dump.spread import SPREAD
from tasks.match.buddies import MATCH
from tasks.match.dictionary import WRITE_DICTIONARY
from tasks.match.units import WRITE_UNITS
from tasks.names.classes import WRITE_CLASSES
from tasks.plan import Plan, Stage
from tasks.report.page import WRITE_REPORT
from tasks.shape.assign import ASSIGN
from tasks.shape.layers import WRITE_LAYERS
from tasks.shape.rarefy import RAREFY
from tasks.shape.stability import WRITE_STABILITY
from tasks.stream.stage import or_streamed
from tasks.trust import profile
from tasks.trust.examine import EXAMINE
from tasks.trust.exchange import EXCHANGE
from tasks.trust.pair import JUDGE_PAIRS
from tasks.trust.rotate import ROTATE
from tasks.trust.table import JOIN_TRUST

CORRELATE, PROFILE = map(or_streamed, (of_pairs.CORRELATE, profile.PROFILE))

STAGES = [
    DRAW_IMAGES,
    SPREAD,
    GENERATE,
    WRITE_FEATURES,
    DUMP,
    CORRELATE,
    MATCH,
    PROFILE,
    JUDGE_PAIRS,
    ROTATE,
    EXCHANGE,
    EXAMINE,
    ASSIGN,
    JOIN_TRUST,
    WRITE_STABILITY,
    WRITE_LAYERS,
    RAREFY,
    WRITE_UNITS,
    WRITE_DICTIONARY,
    WRITE_CLASSES,
    WRITE_REPORT,
]
"""Every stage, after those that write what it reads."""


def declare(stage: Stage, after: Stage) -> Stage:
    """Add a stage to every run, behind another."""
    STAGES.insert(STAGES.index(after) + 1, stage)
    return stage


def stages_from(first: Stage) -> list[Stage]:
    """A stage and all behind it."""
    return STAGES[STAGES.index(first) :]


def fingerprints(plan: Plan) -> dict[str, str]:
    """The fingerprint of every artifact, by the path of the file or store that carries it."""
    return {
        index_of(artifact.path(*names), artifact): plan.digest(artifact, *names)
        for stage in STAGES
        for artifact, names in stage.artifacts(plan)
    }
