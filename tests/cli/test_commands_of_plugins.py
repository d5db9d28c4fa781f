"""Commands under `sdd` that other distributions bring."""

import pytest
from click.testing import CliRunner
from support import add_distribution

from sdd_core.cli import main


@pytest.fixture
def install(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def write(dist, name, target, source=""):
        add_distribution(tmp_path, dist, "1.0", source, f"{name} = {target}",
                         module=target.partition(":")[0], group="sdd.commands")

    return write


HELLO = """
    import click

    @click.command()
    @click.option("--level", type=int, default=1)
    def hello(level):
        "Say hello."
        click.echo(f"hello, level {level}")
"""


def test_a_plugins_command_runs_under_sdd(install):
    install("sdd-hello", "hello", "hello_commands:hello", HELLO)
    ran = CliRunner().invoke(main, ["hello", "--level", "3"])
    assert (ran.exit_code, ran.output) == (0, "hello, level 3\n")
    listed = CliRunner().invoke(main, ["--help"]).output
    assert "Commands of plugins" in listed
    assert "Of sdd-hello." in listed


def test_help_imports_no_stranger(install):
    install("sdd-broken", "broken", "broken_commands:it", "raise RuntimeError('no')")
    assert "broken" in CliRunner().invoke(main, ["--help"]).output
    ran = CliRunner().invoke(main, ["broken"])
    assert ran.exit_code == 2
    assert ran.output == (
        "Error: command 'broken' of sdd-broken cannot be imported: RuntimeError: no\n"
    )
    assert CliRunner().invoke(main, ["list-plugins", "--kind", "noise"]).exit_code == 0


@pytest.mark.parametrize(
    ("does", "code", "says"),
    [
        ("raise KeyError('x')", 2, "Error: command 'fails' failed: KeyError: 'x'\n"),
        ("raise click.ClickException('mine')", 1, "Error: mine\n"),
        ("raise SystemExit(3)", 3, ""),
        ("click.get_current_context().exit(4)", 4, ""),
        ("raise click.Abort", 1, "Aborted!\n"),
    ],
)
def test_one_that_fails_says_so_in_one_line_and_one_that_ends_just_ends(install, does, code, says):
    install("sdd-fails", "fails", f"fails_{code}_{len(does)}:fails", f"""
    import click

    @click.command()
    def fails():
        {does}
""")
    ran = CliRunner().invoke(main, ["fails"])
    assert (ran.exit_code, ran.output) == (code, says)


def test_what_is_no_command_is_refused(install):
    install("sdd-odd", "odd", "odd_commands:it", "it = 3")
    ran = CliRunner().invoke(main, ["odd"])
    assert ran.output == "Error: command 'odd' of sdd-odd is int; expected a click.Command\n"


def test_a_stranger_does_not_take_over_a_command(install):
    install("sdd-bold", "runs", "bold_commands:hello", HELLO)
    assert "hello" not in CliRunner().invoke(main, ["runs", "--store", "nowhere"]).output
    assert "Of sdd-bold" not in CliRunner().invoke(main, ["--help"]).output


def test_of_two_commands_with_one_name_the_first_distribution_has_it(install):
    install("sdd-b", "hello", "hello_b:hello", HELLO.replace("hello, level", "b, level"))
    install("sdd-a", "hello", "hello_a:hello", HELLO.replace("hello, level", "a, level"))
    assert CliRunner().invoke(main, ["hello"]).output == "a, level 1\n"
