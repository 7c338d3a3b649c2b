"""``tickformer``: the commands, and what their errors do to the exit code.

Exit codes: 0 it worked, 1 the user can mend it, 2 the simulated program failed, 3 our own mistake,
130 interrupted. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from isa.errors import InternalError, UserError
from sim.cli.assembly import asm, disasm
from sim.cli.fetch import fetch
from sim.cli.graph import graph
from sim.cli.machines import machines
from sim.cli.run import run
from sim.cli.run_asm import run_asm
from sim.cli.workloads import workloads
from sim.interrupt import EXIT_INTERRUPTED

EXIT_USER = 1
EXIT_INTERNAL = 3

app = typer.Typer(
    name="tickformer",
    help="Run transformer models on a simulated CPU, cycle by cycle.",
    epilog="Example:  tickformer run toy-llama --machine teach --prompt hello --tokens 4",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.command()(run)
app.command(name="run-asm")(run_asm)
app.command()(asm)
app.command()(disasm)
app.command()(graph)
app.command()(fetch)
app.command()(machines)
app.command()(workloads)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tickformer {version('tickformer')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


@functools.cache
def _command() -> Any:
    """The whole command line, made once."""
    return typer.main.get_command(app)


def execute(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; prints errors to stderr."""
    command = _command()
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        # Not command.main: it turns Ctrl-C and a closed pipe into exit codes without a word.
        with command.make_context("tickformer", given) as context:
            code = command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as ended:  # --help, --version
        return ended.exit_code
    except typer.TyperException as error:  # a wrong command line
        show = getattr(error, "show", None)
        if show is None:
            typer.echo(f"error: {error}", err=True)
        else:
            show()
        return EXIT_USER
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        return error.exit_code
    except InternalError:
        import traceback

        traceback.print_exc()
        typer.echo("this is a mistake in Tickformer, not in your input; please report it", err=True)
        return EXIT_INTERNAL
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        _discard_output()
        return 0
    except OSError as error:  # what reads or writes files explains its own: this is our output
        _discard_output()
        typer.echo(f"error: cannot write the output: {error.strerror or error}", err=True)
        return EXIT_USER
    return code if isinstance(code, int) else 0


def _discard_output() -> None:
    """Send stdout nowhere, so that what it still holds is no second error at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Entry point of the ``tickformer`` script."""
    for name in ("stdout", "stderr"):  # None where the shell closed them: `>&-`
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    sys.exit(execute())
