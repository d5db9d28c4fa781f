"""Define the command line. Commands are imported on use, so that `sdd --help` is fast."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click
from click.shell_completion import CompletionItem

from sdd_core import __version__
from sdd_core.cli.interrupts import STOPPED, Interrupts, Stopped
from sdd_core.errors import FAILURES, SddError, did_you_mean, format_error
from sdd_core.output.notices import say
from sdd_core.output.text import one_line as plain

GROUP = "sdd.commands"

# name: (module and object, line in `sdd --help`)
COMMANDS = {
    "run": ("run:run", "Run or resume an experiment."),
    "resume": ("run:resume", "Resume an interrupted run."),
    "inspect": ("inspect:inspect", "List the prunable and the other parameters of a network."),
    "sweep": ("sweep:sweep", "Run many experiments from a file with lists of values."),
    "runs": ("runs:runs", "List the runs in the store."),
    "reproduce": ("reproduce:reproduce", "Run the experiments behind a claim of the paper."),
    "report": ("runs:report", "Write the table, figure and CSV of a run."),
    "recommend": ("recommend:recommend", "Recommend how far to prune, and say what it saves."),
    "export": ("export:export", "Write the pruned network of a level, in a format of your choice."),
    "table": ("table:table", "Write runs as one tidy table, CSV or Parquet."),
    "plot": ("plot:plot", "Draw runs in one figure, averaged over seeds."),
    "sensitivity": ("sensitivity:sensitivity",
                    "Prune one layer at a time, without training, and measure."),
    "landscape": ("landscape:landscape", "Draw the loss around the weights of each level."),
    "list-plugins": ("plugins:list_plugins", "List the installed plugins."),
    "fit-kernels": ("kernels:fit_kernels", "Measure which sparse kernels are fast here."),
    "show": ("plugins:show", "Show a plugin's options and the source of its method."),
    "new-plugin": ("new_plugin:new_plugin", "Write a plugin template, ready to install."),
    "check": ("check:check", "Check that a plugin keeps its contract."),
    "schema": ("schema:schema", "Print the JSON schema of experiment files, for editors."),
}


RESUMABLE = {"run", "resume", "sweep", "reproduce"}
"""The commands that resume where they were stopped."""


class Refusal(click.ClickException):
    """An error that the user can fix, printed as one line on standard error; exit code 2."""

    exit_code = 2

    def show(self, file: object = None) -> None:
        """Print the line."""
        say(f"Error: {self.message}")


@contextmanager
def one_line(ctx: click.Context | None = None) -> Iterator[None]:
    """Turn an SddError, a usage error of click (three lines) or an OSError into a Refusal, and
    Ctrl-C into Stopped. ctx: the context of the command."""
    try:
        yield
    except KeyboardInterrupt:
        resumable = ctx is not None and ctx.invoked_subcommand in RESUMABLE
        more = "; run the same command again to resume" if resumable else ""
        raise Stopped(f"{STOPPED}{more}") from None
    except SddError as error:
        raise Refusal(str(error)) from error
    except click.UsageError as error:
        where = f" (see `{error.ctx.command_path} --help`)" if error.ctx else ""
        raise Refusal(error.format_message().rstrip(".") + where) from error
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # the reader closed the pipe: click ends quietly
        if not error.filename:
            _drop_output()
        what = error.filename or "the output"
        raise Refusal(f"cannot read or write {what}: {error.strerror or error}") from error


def _drop_output() -> None:
    """Send what is still waiting for standard output nowhere: Python would try to write it at its
    end again, and add its own lines to ours."""
    with suppress(OSError, ValueError):  # a stream without a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def strangers() -> dict[str, EntryPoint]:
    """Return the commands of other distributions (entry points of the group `sdd.commands`) by
    name; where two have one name, that of the alphabetically first distribution. Import none, so
    that a broken one breaks only itself."""
    found = sorted(entry_points(group=GROUP), key=lambda one: one.dist.name if one.dist else "")
    return {one.name: one for one in reversed(found) if one.name not in COMMANDS}


def _load(announced: EntryPoint) -> click.Command:
    whose = f"command {announced.name!r} of {announced.dist.name if announced.dist else '?'}"
    try:
        command = announced.load()
    except FAILURES as error:
        raise SddError(f"{whose} cannot be imported: {format_error(error)}") from error
    if not isinstance(command, click.Command):
        raise SddError(f"{whose} is {type(command).__name__}; expected a click.Command")
    return command


class LazyGroup(click.Group):
    """A group of commands that are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *strangers()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module, _, name = COMMANDS[cmd_name][0].partition(":")
            return getattr(import_module(f"sdd_core.cli.{module}"), name)
        announced = strangers().get(cmd_name)
        return None if announced is None else _load(announced)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])
        others = {plain(name): plain(f"Of {one.dist.name if one.dist else '?'}.")
                  for name, one in strangers().items()}
        if others:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(list(others.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # As click has it, but without importing each command for its help.
        return [
            *(CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items()
              if name.startswith(incomplete)),
            *(CompletionItem(plain(name)) for name in strangers() if name.startswith(incomplete)),
            *click.Command.shell_complete(self, ctx, incomplete),
        ]  # fmt: skip

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with one_line(), Interrupts():
            return super().make_context(*args, **extra)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            hint = did_you_mean(args[0], self.list_commands(ctx))
            raise click.UsageError(f"no command {args[0]!r}{hint and '; ' + hint}", ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        with one_line(ctx), Interrupts():
            try:
                return super().invoke(ctx)
            except (click.ClickException, click.exceptions.Exit, click.Abort, SddError, OSError):
                raise
            except Exception as error:
                name = ctx.invoked_subcommand or ""
                if name in COMMANDS:
                    raise
                # A plugin's command: report its failure like that of any plugin.
                raise SddError(f"command {name!r} failed: {format_error(error)}") from error


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="sdd")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Find out what pruning does to generalisation.

    `sdd run` draws a sparse double descent curve in a minute; `sdd run --help` lists what can be
    changed.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
