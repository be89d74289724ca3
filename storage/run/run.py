"""A finished run to look at: its data, its concepts and units, and how they show themselves."""

from typing import TYPE_CHECKING

from storage.run.members import Concept, RunMembers, Unit

if TYPE_CHECKING:
    from storage.run.plots import Plots

# Pictures are imported when they are asked for: data alone needs no drawing library.


class ShownUnit(Unit):
    """A unit that notebooks show."""

    def _repr_html_(self) -> str:
        from storage.run.notebook import unit_cell

        return unit_cell(self).html()


class ShownConcept(Concept):
    """A concept that notebooks show."""

    def _repr_html_(self) -> str:
        from storage.run.notebook import concept_cell

        return concept_cell(self).html()


class Run(RunMembers):
    """A finished run; :func:`storage.open_run` opens one."""

    concept_type = ShownConcept
    unit_type = ShownUnit

    @property
    def asked(self) -> tuple[str, ...]:
        """The former name of :attr:`targets`."""
        return self.targets

    @property
    def plot(self) -> "Plots":
        """Plots of this run, as matplotlib axes."""
        from storage.run.plots import Plots

        return Plots(self)

    def __repr__(self) -> str:
        kept = f" ({self.pictures.count:,} kept)" if self.keeps_some else ""
        counts = f"{self.seen:,} images{kept}, {len(self.models)} models, {len(self.unit_table):,} units"
        dictionary = f"{len(self.neurons):,} Rosetta neurons in {len(self.clusters):,} concepts"
        trusted = f", {self.trusted:,} of the neurons trusted" if self.judged else ""
        return f"<Run {self.name!r} at {self.root.shown}: {counts}, {dictionary}{trusted}>"

    def _repr_html_(self) -> str:
        from storage.run.notebook import run_cell

        return run_cell(self).html()
