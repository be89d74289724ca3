"""`rosetta export`: its options, and what is refused."""

import json

import finished
import pytest
import xarray as xr

from flows.command.main import main


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return finished.write(tmp_path_factory.mktemp("run") / "root")


def test_units_and_images_are_numbers_and_ranges(place, tmp_path, capsys):
    out = tmp_path / "part.nc"
    main(["export", str(place), str(out), "--units", "g:2,0-1", "--units=d:1", "--units", "g:0", "--images", "0-2,7"])
    assert capsys.readouterr().out == f"Export: {out}, 4 units of g, d over 4 of 10 images\n"
    part = xr.load_datatree(out)
    assert part["units/g"]["unit"].values.tolist() == [2, 0, 1]
    assert part["image"].values.tolist() == [0, 1, 2, 7]


def test_the_units_of_neurons_over_all_images(place, tmp_path, capsys):
    out = tmp_path / "part.zarr"
    main(["export", str(place), str(out), "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"root": str(place), "path": str(out), "images": 10, "units": {"g": 1, "d": 1}}
    assert xr.open_datatree(out, engine="zarr")["matches"].sizes["match"] == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["{run}", "{run}/recipe.nc/out.nc"], "there is no folder {run}/recipe.nc"),
        (["{run}", "{there}.nc"], "{there}.nc exists; remove it"),
        (["{run}", "{new}.csv"], "{new}.csv is neither NetCDF nor Zarr; name a file that ends in .nc or .zarr"),
        (["{run}/no", "{new}.nc"], "holds no run"),
        (["{run}", "{new}.nc", "--units", "dd:0"], "model 'dd' is not in {run}; did you mean 'd'?"),
        (["{run}", "{new}.nc", "--units", "d:3"], "unit 3 is not in d; its units are 0 to 2"),
        (["{run}", "{new}.nc", "--units", "d:0-99999999999"], "unit 99999999999 is not in d"),
        (["{run}", "{new}.nc", "--units", "d"], "'d' names no units of a model"),
        (["{run}", "{new}.nc", "--units", "d:"], "'' is not a list of numbers"),
        (["{run}", "{new}.nc", "--units", "d:2-1"], "'2-1' is not a list of numbers"),
        (["{run}", "{new}.nc", "--units", "d:1²"], "is not a list of numbers"),
        (["{run}", "{new}.nc", "--images", "0,10"], "image 10 is not in {run}; its images are 0 to 9"),
        (["{run}", "{new}.nc", "--images", "0-"], "--images '0-' is not a list of numbers"),
    ],
)
def test_what_can_be_wrong_is_one_line(place, tmp_path, capsys, words, line):
    (tmp_path / "there.nc").touch()
    names = {"run": place, "new": tmp_path / "new", "there": tmp_path / "there"}
    with pytest.raises(SystemExit) as left:
        main(["export", *(word.format(**names) for word in words)])
    assert left.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("rosetta: ")
    assert printed.err.count("\n") == 1
    assert line.format(**names) in printed.err
    assert [file.name for file in tmp_path.iterdir()] == ["there.nc"]
