"""The commands `rosetta invert` and `rosetta edit`."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, Token

if TYPE_CHECKING:
    from flows.invert import Guided

# Numbers come in as text and are checked with everything else, so that every mistake is told in the same way.
Given = dict[str, Any]


def invert(
    root: str,
    /,
    *images: str,
    file_class: Annotated[int | None, Parameter("--class")] = None,
    table: Annotated[bool, Parameter(negative="")] = False,
    name: str | None = None,
    rec: str | None = None,
    alpha: float | None = None,
    beta: float | None = None,
    models: Annotated[tuple[str, ...] | None, Parameter(consume_multiple=True, negative="")] = None,
    clusters: Annotated[tuple[int, ...] | None, Parameter(consume_multiple=True, negative="")] = None,
    above: float | None = None,
    high: str | None = None,
    space: str | None = None,
    restarts: int | None = None,
    steps: int | None = None,
    rate: float | None = None,
    batch: int | None = None,
    seed: int | None = None,
    lpips: str | None = None,
    replace: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Find the latents of images, guided by the matches of a run; a page shows them.

    Parameters
    ----------
    root
        The root of a run that has a generator.
    images
        Indices of the run (7, or 0:32), new:N for images of the generator that mining never saw, paths, or globs.
    file_class
        Which class files are of, where the generator makes images of classes; else the only one that its recipe names.
    table
        The paper's Table 1: reconstruction alone, with the matches of each model, with all. Coefficients are chosen on
        images of their own.
    name
        Artifacts go to inversions/NAME.
    rec
        What images are compared in: pixels, none, lpips, or a discriminative model of the run.
    alpha
        Weight of the latents' distance from the middle of their space.
    beta
        Weight of the agreement with the matches; 0 leaves them out.
    models
        Whose matches guide; all by default.
    clusters
        Which concepts guide; all matches by default.
    above
        Only matches with at least this correlation.
    high
        Instead of images: ask the concepts to be high inside a box X0,Y0,X1,Y1, in fractions of the image.
    space
        z, or w or w+ where the generator has it.
    restarts
        Starts for each image; the best by the objective is kept.
    steps
        Of Adam.
    rate
        Its learning rate at the plateau.
    batch
        Images that are optimised at once.
    seed
        Of the starts.
    lpips
        NET:WEIGHTS, alex:weights/alexnet-owt-7be5be79.pth say: measures LPIPS, or makes it the reconstruction.
    replace
        Take the name from another search.
    as_json
        Print one JSON object on standard output and nothing else.
    """
    from rosetta.guidance.settings import Inversion, Table
    from rosetta.strict import validated

    given = _given(
        **{"class": file_class},
        name=name,
        images=images or None,
        rec=rec,
        alpha=alpha,
        beta=beta,
        models=models,
        clusters=clusters,
        above=above,
        high=high,
        space=space,
        restarts=restarts,
        steps=steps,
        rate=rate,
        batch=batch,
        seed=seed,
        lpips=lpips,
    )
    wanted: Inversion | Table = (
        validated(Table, given, "invert --table") if table else validated(Inversion, given, "invert")
    )

    def check() -> None:
        from flows.invert import plan_inversion, plan_table

        if isinstance(wanted, Table):
            plan_table(root, wanted, replace)
        else:
            plan_inversion(root, wanted, replace)

    def work() -> "Guided":
        from flows.invert import invert as flow
        from flows.invert import table as table_flow

        return table_flow(root, wanted, replace) if isinstance(wanted, Table) else flow(root, wanted, replace)

    _run(check, work, as_json)


def _in_order(_: Any, tokens: Sequence[Token]) -> tuple[tuple[str, str], ...]:
    """Options with one value each, as pairs of option and value in the order of the command line."""
    return tuple(((token.keyword or "").removeprefix("--"), token.value) for token in tokens)


def edit(
    root: str,
    /,
    *,
    images: Annotated[tuple[str, ...], Parameter("--image", consume_multiple=True, negative="")],
    file_class: Annotated[int | None, Parameter("--class")] = None,
    edits: Annotated[
        tuple[tuple[str, str], ...],
        Parameter(
            ("--shift", "--zoom", "--copy", "--paste", "--join", "--remove", "--add"),
            converter=_in_order,
            n_tokens=1,
            negative="",
            accepts_keys=False,
            allow_leading_hyphen=True,
        ),
    ] = (),
    name: str | None = None,
    rest: float | None = None,
    near: float | None = None,
    steps: int | None = None,
    rate: float | None = None,
    batch: int | None = None,
    seed: int | None = None,
    replace: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Change images by changing the activation maps of their Rosetta neurons; a page shows what became of it.

    Parameters
    ----------
    root
        The root of a run that has a generator.
    images
        Indices of the run (7, or 0:32), new:N, paths, or globs. Files are inverted first.
    file_class
        Which class files are of, where the generator makes images of classes; else the only one that its recipe names.
    edits
        In the order given, in fractions of the image: --shift DX,DY; --zoom SCALE[@X,Y]; --copy X0,Y0,X1,Y1 --paste X,Y
        (the copy's upper left corner); --join IMAGE@x=0.5 (what lies to the right comes from IMAGE; y: below);
        --remove CLUSTER[@X0,Y0,X1,Y1]; --add CLUSTER@X0,Y0,X1,Y1.
    name
        Artifacts go to edits/NAME.
    rest
        Weight of the maps that are asked to stay, against those that change.
    near
        Weight of the squared distance from the latents before.
    steps
        Of Adam.
    rate
        Its learning rate at the plateau.
    batch
        Images that are edited at once.
    seed
        Of the starts where files are inverted.
    replace
        Take the name from another edit.
    as_json
        Print one JSON object on standard output and nothing else.
    """
    from rosetta.errors import UserError
    from rosetta.guidance.edit_text import parse_edits
    from rosetta.guidance.settings import Editing
    from rosetta.strict import validated

    if not edits:
        raise UserError("no edit is asked for; give --shift, --zoom, --copy and --paste, --join, --remove or --add")
    parse_edits(edits)
    given = _given(
        **{"class": file_class},
        name=name,
        images=images,
        edits=edits,
        rest=rest,
        near=near,
        steps=steps,
        rate=rate,
        batch=batch,
        seed=seed,
    )
    wanted = validated(Editing, given, "edit")

    def check() -> None:
        from flows.edit import plan_edit

        plan_edit(root, wanted, replace)

    def work() -> "Guided":
        from flows.edit import edit as flow

        return flow(root, wanted, replace)

    _run(check, work, as_json)


def _given(**values: Any) -> Given:
    """What was given; everything else keeps its default."""
    return {key: value for key, value in values.items() if value is not None}


def _run(check: Callable[[], None], work: "Callable[[], Guided]", as_json: bool) -> None:
    import json

    from flows.command.quiet import quiet_prefect

    quiet_prefect()
    from flows.reporting.embedded_server import EmbeddedServer

    server = EmbeddedServer.unless_configured()
    check()  # what is wrong is said without waiting for the server, which starts meanwhile
    from flows.command.console import narrated
    from tasks.guided.metrics import lines

    with narrated(), server.in_use() if server else nullcontext():
        done = work()
    if as_json:
        print(json.dumps(done.as_dict(), indent=2, ensure_ascii=False))
        return
    for line in lines(done.summary):
        print(line)
    print(f"Look at {done.root}/{done.where}/index.html")
