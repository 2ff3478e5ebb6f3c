"""The commands of `angarium`: one file each, named in `angarium.cli.COMMANDS`."""
