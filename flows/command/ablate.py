"""The command `rosetta ablate`: its options are the fields of the flows' settings."""

from typing import Annotated

from cyclopts import Parameter

from flows.command.json_output import Json, print_json
from flows.command.running import start_server, under_way
from rosetta.guidance.cause_settings import Ablation, Silencing
from rosetta.strict import validated


class _Options(Ablation, Silencing):
    pass


_FIELDS = Parameter(
    name="*",
    show_default=None,
    consume_multiple=True,
    name_transform=lambda field: "raise" if field == "raised" else field,
)


def ablate(
    root: str,
    /,
    *,
    options: Annotated[_Options, _FIELDS] = _Options(),
    silence: bool = False,
    replace: bool = False,
    as_json: Json = False,
) -> None:
    """Test what the units of a run cause.

    Units of Rosetta neurons are ablated in the generator, and the discriminative models look at the images: does the
    buddy follow, and more than of random units? With --silence, units of concepts are silenced in the discriminative
    models: which classes' scores move, or how far does the embedding?

    Parameters
    ----------
    root
        Root of a run, any fsspec URL.
    silence
        Silence concepts in the discriminative models. Needs no generator.
    replace
        Replace the result of other settings.
    """
    given = options.model_dump(exclude_unset=True, by_alias=True)
    settings = validated(Silencing, given, "ablate --silence") if silence else validated(Ablation, given, "ablate")
    server = start_server()
    from flows import ablate as flows

    # Bad input is reported without waiting for the server, which starts meanwhile.
    if isinstance(settings, Silencing):
        flows.plan_silencing(root, settings, replace)
    else:
        flows.plan_ablation(root, settings, replace)
    with under_way(server):
        if isinstance(settings, Silencing):
            done = flows.silence(root, settings, replace)
        else:
            done = flows.ablate(root, settings, replace)
    if as_json:
        print_json(done.as_dict())
        return
    for line in done.lines:
        print(line)
    for note in done.notes:
        print(f"Note: {note}")
    print(f"Table: {done.root}/{done.table}")
    if done.page:
        print(done.page)
