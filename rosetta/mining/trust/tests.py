"""The tests of trust, declared once: what a match must show to be trusted.

Whatever names, counts, words or draws the tests walks over :data:`TESTS`: the column `trusted`, what the dictionary
carries of each match, the counts of what survives, the pages and the documentation. A new test is one entry here and
the column of `tables/trust.parquet` that it reads.
"""

import re
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rosetta.errors import UserError, nearest
from rosetta.recipe import Measurement, Trust

Flags = npt.NDArray[np.bool_]


class Columns(Protocol):
    """Columns of `tables/trust.parquet` by name: a data frame or a mapping, (match,) each."""

    def __getitem__(self, name: str, /) -> Any: ...


@dataclass(frozen=True)
class TrustTest:
    """One question to a match. It passes when the value of a column lies above a limit, and never when that is NaN."""

    name: str
    """In JSON and in the page's data."""
    word: str
    """On chips, in headings and in the addresses of the trust page."""
    question: str
    """What it asks, as a person would."""
    column: str
    """The column that decides; `tables/rosetta.parquet` carries it too."""
    condition: str
    """When a match passes; `{limit}` stands for the limit."""
    heading: str
    """Of the column of survivors, as a verb: matches that …"""
    passed: str
    """What holds for a match that passes."""
    failed: str
    """What is wrong with a match that fails; `{value}` stands for its value."""
    failed_blank: str = ""
    """The same where the deciding column is NaN although the test was made."""
    limit: float | str = 0.0
    """A number, or the setting of `[trust]` that holds it."""
    at_most: bool = False
    """Whether values up to the limit pass, in place of those above it."""
    evidence: tuple[str, ...] = ()
    """Columns beside the deciding one that say how its value came about."""
    asked: str = ""
    """The column that is NaN where the test could not be made; the deciding one, if left out."""
    needs_control: bool = False
    """Whether it can only be made where the recipe has a control."""
    measured: Measurement | None = None
    """The measurement without which it cannot be made, where that can be left out."""
    command: str = ""
    """The command that measures what it asks, where mining does not."""

    @property
    def weakest(self) -> str:
        """Which of several values is the weakest: `min` or `max`."""
        return "max" if self.at_most else "min"

    def limit_in(self, settings: Trust) -> float:
        """The limit under some settings."""
        return float(getattr(settings, self.limit) if isinstance(self.limit, str) else self.limit)

    def passes(self, matches: Columns, settings: Trust) -> Flags:
        """(match,) whether each match passes."""
        values, limit = np.asarray(matches[self.column]), self.limit_in(settings)
        return values <= limit if self.at_most else values > limit

    def unasked(self, matches: Columns) -> Flags:
        """(match,) whether the test could not be made: of any, where none of them has a value."""
        blank, values = (
            np.isnan(np.asarray(matches[of], np.float64)) for of in (self.asked or self.column, self.column)
        )
        return np.asarray(blank | values.all())

    def reason(self, value: float) -> str:
        """What is wrong with a match that fails with some value of the deciding column."""
        sentence = self.failed_blank if self.failed_blank and np.isnan(value) else self.failed
        return _true_minus(sentence.format(value=value))

    def condition_in(self, settings: Trust) -> str:
        """When a match passes under some settings: ``q ≤ 0.05``."""
        return _true_minus(self.condition.format(limit=f"{self.limit_in(settings):g}"))


TESTS: list[TrustTest] = [
    TrustTest(
        name="chance",
        word="chance",
        question="Would two units that have nothing to do with each other correlate so well on these images?",
        column="q_value",
        limit="q",
        at_most=True,
        condition="q ≤ {limit}",
        heading="beat chance",
        passed="beyond chance",
        failed="q {value:.3g}: chance explains it",
        evidence=("p_value",),
    ),
    TrustTest(
        name="replicates",
        word="halves",
        question="Do both halves of the images, each by itself, make the same match?",
        column="replicates",
        condition="a match in both halves",
        heading="replicate",
        passed="in both halves of the images",
        failed="not a match in both halves of the images",
        evidence=("pearson_half_1", "pearson_half_2"),
        asked="q_value",
    ),
    TrustTest(
        name="held_out",
        word="held out",
        question="Does it correlate on images that had no part in choosing it?",
        column="pearson_held_out",
        limit="held_out",
        condition="held-out r > {limit}",
        heading="on new images",
        passed="correlated on images that did not choose it",
        failed="little is left on images that did not choose it (held out {value:z.2f})",
        failed_blank="neither half of the images chooses it",
        evidence=("pearson_half_1", "pearson_half_2"),
        asked="q_value",
    ),
    TrustTest(
        name="lift",
        word="control",
        question="Does a model that has learnt nothing do as well?",
        column="lift",
        condition="lift > 0",
        heading="beat controls",
        passed="above every control",
        failed="a control does as well (lift {value:z.2f})",
        evidence=("control_best",),
        needs_control=True,
    ),
    TrustTest(
        name="partial",
        word="pixels",
        question="Is anything left once plain pixel content is taken away?",
        column="pearson_partial",
        limit="partial",
        condition="partial r > {limit}",
        heading="beyond pixels",
        passed="not explained by pixels",
        failed="pixels explain it (partial {value:z.2f})",
        evidence=("pixel_explained",),
    ),
    TrustTest(
        name="excess",
        word="rotation",
        question="Does the unit match better than random mixtures of the units of its layer?",
        column="excess",
        limit="excess",
        condition="excess > {limit}",
        heading="beat rotation",
        passed="better than mixtures of its layer's units",
        failed="random mixtures of its layer's units do as well (excess {value:z.2f})",
        evidence=("pearson_rotated",),
        measured="rotation",
    ),
    TrustTest(
        name="alone",
        word="alone",
        question="Is it this unit that is shared, or several units of its layer together?",
        column="alone",
        limit="alone",
        condition="alone > {limit}",
        heading="stand alone",
        passed="no other unit of its layer knows of the partner",
        failed="another unit of its layer knows as much of the partner (alone {value:z.2f})",
        evidence=("excess",),
        measured="rotation",
    ),
    TrustTest(
        name="robust",
        word="few positions",
        question="Is anything left once the few highest values of each map are cut off?",
        column="pearson_robust",
        limit="robust",
        condition="clipped r > {limit}",
        heading="robust",
        passed="not made by a few positions",
        failed="little is left without its few highest values (clipped {value:z.2f})",
        evidence=("few_positions",),
        measured="maps",
    ),
    TrustTest(
        name="interval",
        word="interval",
        question="Would it stay above zero on other images of the same kind?",
        column="pearson_low",
        limit="low",
        condition="lower end > {limit}",
        heading="clear of zero",
        passed="clear of zero",
        failed="its 95 % interval begins at {value:z.2f}",
        evidence=("pearson_high",),
        measured="maps",
    ),
    TrustTest(
        name="influence",
        word="one image",
        question="Does a single image make it?",
        column="influence",
        limit="influence",
        at_most=True,
        condition="influence ≤ {limit}",
        heading="no single image",
        passed="not made by one image",
        failed="one image changes it by {value:.2f}",
        measured="maps",
    ),
    TrustTest(
        name="within",
        word="classes",
        question="Do the units agree within a class, or only on which class it is?",
        column="pearson_within",
        limit="within",
        condition="r within classes > {limit}",
        heading="within classes",
        passed="within classes, too",
        failed="little is left within classes ({value:z.2f})",
        measured="maps",
    ),
    TrustTest(
        name="one_to_one",
        word="one to one",
        question="Are the two a pair when every unit may have only one partner?",
        column="assigned",
        limit=0.5,
        condition="assigned to each other",
        heading="one to one",
        passed="matched one to one",
        failed="with one partner for each unit, these two are no pair",
        measured="one_to_one",
    ),
    TrustTest(
        name="cause",
        word="cause",
        question="Does the partner follow when the generator’s unit is taken away?",
        column="causal_q",
        limit="q",
        at_most=True,
        condition="causal q ≤ {limit}",
        heading="caused",
        passed="followed when its unit is ablated",
        failed="the partner follows random units as much (causal q {value:.3g})",
        evidence=("causal_effect", "causal_p"),
        command="rosetta ablate",
    ),
]
"""In the order in which people read of them."""


def asked(settings: Trust) -> list[TrustTest]:
    """The tests that a match must pass to be trusted."""
    return [test for test in TESTS if test.name in settings.tests]


def named_test(name: str, origin: str = "") -> TrustTest:
    """The test of that name.

    Raises
    ------
    UserError
        There is none; the message begins with `origin`.
    """
    known = {test.name: test for test in TESTS}
    if name not in known:
        hint = nearest(name, known) or f"; there are {', '.join(known)}"
        raise UserError(f"{origin}there is no test {name!r}{hint}")
    return known[name]


def require_known(settings: Trust) -> None:
    """
    Raises
    ------
    UserError
        `trust.tests` names what is no test, or asks for one whose measurement is left out.
    """
    for name in settings.tests:
        named_test(name, "trust.tests: ")
    for test in asked(settings):
        if test.measured in settings.leave_out:
            raise UserError(
                f"trust.tests asks for {test.name!r}, and trust.leave_out leaves {test.measured!r} out, by which it is"
                " decided; take the name off one of them"
            )


def passing(matches: Columns, settings: Trust) -> dict[str, Flags]:
    """Test → (match,) whether each match passes it, and last `trusted`: whether it passes all that are asked for."""
    each = {test.name: test.passes(matches, settings) for test in TESTS}
    return {**each, "trusted": np.all([each[test.name] for test in asked(settings)], axis=0)}


def unasked(matches: Columns) -> dict[str, Flags]:
    """Test → (match,) whether it could not be made."""
    return {test.name: test.unasked(matches) for test in TESTS}


def failures(matches: Columns, settings: Trust) -> list[list[tuple[str, str]]]:
    """(match,) of each match the tests that it fails of those asked for: a word, and a sentence that says why.

    Where one of them could not be made, the last one says so.
    """
    tests = asked(settings)
    blank = {test.name: test.unasked(matches) for test in tests}
    found: list[list[tuple[str, str]]] = [[] for _ in np.asarray(matches[tests[0].column])]
    for test in tests:
        values = np.asarray(matches[test.column])
        for match in np.flatnonzero(~test.passes(matches, settings) & ~blank[test.name]):
            found[match].append((test.word, test.reason(values[match])))
    for match in np.flatnonzero(np.any(list(blank.values()), axis=0)):
        found[match].append(("not judged", "some of the tests could not be made"))
    return found


def _true_minus(text: str) -> str:
    return re.sub(r"-(?=\d)", "−", text)
