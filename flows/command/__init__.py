"""The command `rosetta`: one module per group of subcommands, each a thin layer over a flow or over `storage`."""
