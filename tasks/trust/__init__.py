"""The stages that test matches: what chance, position, pixels and controls explain of each."""
