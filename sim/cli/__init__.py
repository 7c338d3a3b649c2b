"""The command line, ``tickformer``: one file per command, heavy imports inside the functions."""
