"""The command `rosetta join`: its options are the fields of the flow's settings."""

from typing import Annotated

from cyclopts import Parameter

from flows.command.json_output import Json, print_json
from flows.command.running import start_server, under_way
from rosetta.mining.join.settings import Joining

_FIELDS = Parameter(name="*", show_default=None)


def join(
    *roots: str,
    root: str,
    options: Annotated[Joining, _FIELDS] = Joining.model_construct(),
    replace: bool = False,
    as_json: Json = False,
) -> None:
    """Join the concepts of several generators, through the discriminative models that their runs have in common.

    Parameters
    ----------
    roots
        Roots of two mined runs or more, any fsspec URL. The units of the first name the concepts.
    root
        Where the join goes, any fsspec URL; a root of its own.
    replace
        Replace a join of something else under the root.
    """
    from rosetta.strict import validated

    settings = validated(Joining, options.model_dump(exclude_unset=True), "join")
    server = start_server()
    from flows.join import join as join_flow
    from flows.join import plan_join

    plan_join(
        roots, root, settings, replace
    )  # reports bad input without waiting for the server, which starts meanwhile
    with under_way(server):
        done = join_flow(list(roots), root, settings, replace)
    if as_json:
        print_json(done.as_dict())
        return
    for name, pairs in done.pairs.items():
        print(
            f"{name}: {pairs:,} pairs of buddies, {done.by_chance[name]:,.0f} by chance; {done.trusted[name]:,} trusted"
        )
    print(f"{done.concepts:,} concepts, {done.trusted_concepts:,} with a trusted neuron")
    for row in done.itself:
        if not row["units"]:
            continue
        print(
            f"Found itself through {row['through']}, {row['of']} units: {row['first']:.1%} nearest,"
            f" {row['within_5']:.1%} within 5 of {row['units']:,}"
        )
    if done.figure:
        print(f"Figure: {done.root}/{done.figure}")
    print(f"Report: {done.root}/{done.page}")
