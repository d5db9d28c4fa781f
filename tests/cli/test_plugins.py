import json
import subprocess
import sys

import pytest

from sdd_core.cli.plugins import example
from sdd_core.installation import DISTRIBUTION
from sdd_core.plugin.discovery import load_plugins


def test_every_built_in_plugin_is_listed_with_where_it_comes_from(sdd):
    rows = json.loads(sdd("list-plugins", "--json").stdout)
    named = {(row["kind"], row["name"]) for row in rows if row["status"] == "ok"}
    assert named >= {
        ("pruner", "imp"), ("retrain", "rewind"), ("metric", "learning_distance"),
        ("noise", "symmetric"), ("data", "digits"), ("model", "mlp"),
    }
    for row in rows:
        assert row["distribution"] == DISTRIBUTION
        assert row["version"]
        assert row["description"]
    text = sdd("list-plugins").stdout
    for _, name in named:
        assert name in text


def test_one_kind_can_be_listed_alone(sdd):
    rows = json.loads(sdd("list-plugins", "--kind", "pruner", "--json").stdout)
    assert {row["kind"] for row in rows} == {"pruner"}


def test_a_plugin_that_was_left_out_is_listed_as_blocked(sdd):
    rows = json.loads(sdd("list-plugins", "--json", "--no-plugin", "imp").stdout)
    status = {(row["kind"], row["name"]): row["status"] for row in rows}
    assert status["pruner", "imp"] == "blocked"
    assert status["pruner", "random"] == "ok"


def test_show_gives_options_with_types_defaults_bounds_and_the_source(sdd):
    text = sdd("show", "imp").stdout
    row = next(line.split() for line in text.splitlines() if "pruner.fraction" in line)
    assert row[:7] == ["pruner.fraction", "number", "0.2", ">", "0,", "<", "1"]
    assert "Source: " in text
    assert "sdd run --pruner=imp" in text
    document = json.loads(sdd("show", "imp", "--json").stdout)
    assert document[0]["options"]["fraction"]["default"] == 0.2
    assert document[0]["options"]["fraction"]["exclusiveMaximum"] == 1


@pytest.mark.parametrize("name", ["pruner:imp", f"{DISTRIBUTION}:imp"])
def test_show_takes_a_kind_or_a_distribution_before_the_name(sdd, name):
    assert json.loads(sdd("show", name, "--json").stdout)[0]["name"] == "imp"


def test_sdd_alone_shows_its_help(sdd):
    done = sdd()
    assert done.exit_code == 0
    assert done.stdout == sdd("--help").stdout
    for command in ("run", "resume", "runs", "report", "list-plugins", "show"):
        assert f"  {command} " in done.stdout


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_and_version_wait_for_neither_torch_nor_plugins(word):
    code = (
        "import sys\nfrom sdd_core.cli import main\n"
        f"try:\n    main([{word!r}])\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'matplotlib', 'rich', 'sdd_plugins'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("loaded: []\n")


def test_the_example_of_every_plugin_is_a_command_that_exists(sdd):
    """What has to be given stands in capitals; nothing of it is unknown."""
    rows = [row for row in load_plugins().rows if row.plugin]
    examples = {row.name: example(row) for row in rows}
    assert examples["sharpness"] == "sdd run --metric=sharpness"
    assert examples["ray"] == "sdd sweep FILE --executor=ray"
    assert examples["image-folder"] == "sdd run --data=image-folder --data.path=PATH"
    assert examples["torchvision"] == "sdd run --model=torchvision:ARCHITECTURE"
    for row in rows:
        assert f"Example: {examples[row.name]}\n" in sdd("show", f"{row.kind}:{row.name}").stdout
        _, command, *options = examples[row.name].split()
        known = sdd(command, *(word for word in options if word != "FILE"), "--help").stdout
        for option in options:
            if option.startswith("--"):
                assert option.partition("=")[0] in known, examples[row.name]
