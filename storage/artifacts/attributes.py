"""Attributes that netCDF can hold as well, so that plain xarray writes any store with `to_netcdf`.

NetCDF knows text and numbers. What is nested is stored as JSON text under its name with `_json` behind it, whether
something is so as 1 or 0, and what is not known is left out. Stores of format 2 have attributes as they come; both read
the same.
"""

import json
from collections.abc import Mapping
from typing import Any

_NESTED = "_json"


def encode(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as they are stored."""
    encoded: dict[str, Any] = {}
    for name, value in attributes.items():
        if isinstance(value, bool):
            encoded[name] = int(value)
        elif isinstance(value, str | int | float):
            encoded[name] = value
        elif value is not None:
            encoded[f"{name}{_NESTED}"] = json.dumps(value)
    return encoded


def decode(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as they are stored, in either way, with what is nested as plain data.

    Raises
    ------
    ValueError
        What is nested is not JSON.
    """
    return {
        name.removesuffix(_NESTED): json.loads(value) if name.endswith(_NESTED) else value
        for name, value in attributes.items()
    }
