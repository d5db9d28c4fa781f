"""What is prunable can be chosen, and layers of every sort train, are pruned and go on."""

from __future__ import annotations

import json

import pytest
import torch
from support import go, small
from torch import nn
from torch.nn.utils import parametrizations

import sdd_core
from sdd_core import SddError
from sdd_core.level import layers, masks
from sdd_core.runs.level_files import read_level

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated.*:FutureWarning")
DRAW = torch.Generator().manual_seed(0)
TOKENS = torch.randn(240, 5, 8, generator=DRAW)
LABELS = (TOKENS[:, 0, 0] > 0).long()
TRAIN, TEST = (TOKENS[:180], LABELS[:180]), (TOKENS[180:], LABELS[180:])


class Own(nn.Module):
    """A linear layer that nobody knows, `[inputs, outputs]`."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(0.3 * torch.randn(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, numbers):
        return numbers @ self.weight + self.bias


class Mixed(nn.Module):
    """Recurrent layers, cells, normed weights, a bilinear and an own layer."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 6, proj_size=5, batch_first=True)
        self.gru = nn.GRU(5, 6, batch_first=True)
        self.cell = nn.RNNCell(6, 6)
        self.own = Own(6, 6)
        self.normed = parametrizations.weight_norm(nn.Linear(6, 8))
        self.old = nn.utils.weight_norm(nn.Linear(8, 8))
        self.spectral = parametrizations.spectral_norm(nn.Linear(8, 8))
        self.bilinear = nn.Bilinear(8, 8, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, tokens):
        states = self.gru(self.lstm(tokens)[0])[0]
        hidden = self.own(self.cell(states[:, -1], states[:, -2]))
        hidden = torch.relu(self.old(torch.relu(self.normed(hidden))))
        hidden = torch.relu(self.spectral(hidden))
        return self.head(torch.relu(self.bilinear(hidden, hidden)))


class Words(nn.Module):
    """Embeddings that are the last layer too, and a layer of an own class."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(2, 8)
        self.own = Own(8, 8)
        self.head = nn.Linear(8, 2, bias=False)
        self.head.weight = self.words.weight

    def forward(self, tokens):
        return self.head(torch.tanh(self.own(self.words((tokens[:, :, 0] > 0).long()).mean(1))))


def mixed():
    return Mixed()


def words():
    return Words()


def run(store, model=mixed, **settings):
    usual = {"train": {"epochs": 1}, "levels": 2, "noise": "none"}
    return sdd_core.run({**usual, **settings}, model=model, train=TRAIN, test=TEST, store=store,
                        device="cpu")  # fmt: skip


def level_of(result, level):
    return read_level(result.folder / "levels" / f"{level:02d}")


def pruner(name, **options):
    return {"name": name, "fraction": 0.6, **options}


@pytest.mark.parametrize("name", ["imp", "gradient", "random", "snip", "grasp", "synflow"])
def test_recurrent_normed_and_own_layers_are_pruned_by_every_pruner(name, tmp_path):
    result = run(tmp_path, pruner=pruner(name, include=["own"]), levels=4)
    network = mixed()
    weights = masks.prunable_weights(network, ["own"])
    assert len(weights) == 3 + 2 + 2 + 1 + 1 + 1 + 1 + 1 + 1
    size = sum(weight.numel() for weight in weights.values())
    kept = size
    for found in result.levels:
        assert found.sparsity == found.metrics["overall_sparsity"] == (size - kept) / size
        assert not found.diverged, found.level
        level = level_of(result, found.level)
        # The dense network's file is shared with runs that include nothing.
        shared = {"own.weight"} if found.level == 0 else set()
        assert level.masks.keys() == weights.keys() - shared
        for one, mask in level.masks.items():
            assert not level.state[one][~mask].any()
            assert level.state[one].isfinite().all()
        kept -= -(-kept * 6 // 10)


def test_training_moves_what_is_kept_and_the_network_is_what_its_files_say(tmp_path):
    chosen = {"name": "imp", "fraction": 0.2, "include": ["own"]}
    result = run(tmp_path, pruner=chosen, train={"epochs": 3}, levels=1)
    first, last = level_of(result, 0), level_of(result, 1)
    for name, mask in last.masks.items():
        assert not torch.equal(last.state[name][mask], first.state[name][mask]), name
    again = mixed()
    again.load_state_dict(dict(last.state))
    with torch.no_grad():
        found = again.eval()(TEST[0]).argmax(1)
    accuracy = (found == TEST[1]).float().mean().item()
    assert result.levels[1].metrics["test_accuracy"] == pytest.approx(accuracy)


def test_a_level_goes_on_from_its_checkpoint_bit_for_bit(tmp_path):
    """Of a network with normed, recurrent and own layers."""

    class Stop:
        @sdd_core.hookimpl
        def sdd_epoch_end(self, level, epoch):
            if (level, epoch.number) == (1, 2):
                raise KeyboardInterrupt

    settings = {"pruner": pruner("imp", include=["own"]), "train": {"epochs": 3}, "levels": 1,
                "noise": "none"}
    options = {"model": mixed, "train": TRAIN, "test": TEST, "device": "cpu"}
    whole = sdd_core.run(settings, store=tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        sdd_core.run(settings, store=tmp_path / "cut", observers=[Stop()], checkpoint_minutes=0,
                     **options)  # fmt: skip
    cut = sdd_core.run(settings, store=tmp_path / "cut", **options)
    for name, tensor in level_of(whole, 1).state.items():
        assert torch.equal(level_of(cut, 1).state[name], tensor), name


def test_every_layer_may_lose_all_its_weights(tmp_path):
    """Normed layers too, of which torch alone makes NaN."""
    settings = {"pruner": {"name": "random", "sparsity": [0.99], "include": ["own"]}, "levels": 1}
    level = run(tmp_path, **settings).levels[1]
    assert not level.diverged
    assert level.metrics["dead_layers"] >= 3
    assert level.metrics["test_loss"] < 2


def test_embeddings_that_are_tied_are_pruned_when_asked_for(tmp_path):
    result = run(tmp_path, words, pruner=pruner("imp", include=["head", "own"]))
    assert list(level_of(result, 2).masks) == ["own.weight", "words.weight"]
    assert result.levels[2].metrics["overall_sparsity"] == result.sparsity[2] > 0.8
    with pytest.raises(SddError, match=r"Words has no prunable layers; .*pruner.include"):
        run(tmp_path, words)


@pytest.mark.parametrize(
    ("include", "message"),
    [
        (["nobody"], "'nobody' matches no parameter"),
        (["own", "lstm.bias*"], r"lstm.bias_ih_l0 \(and 1 more\) has 1 dimension"),
        (["normed.*original0"], "is the scale of a weight norm"),
    ],
)
def test_patterns_that_reach_nothing_stop_a_run_before_it_begins(tmp_path, include, message):
    with pytest.raises(SddError, match=message):
        run(tmp_path, pruner=pruner("imp", include=include))
    assert not list(tmp_path.glob("*-seed0-*"))


def test_exempt_has_the_last_word(tmp_path):
    """By the names of layers, those of parametrised ones too."""
    chosen = pruner("imp", include=["*"], exempt=["lstm", "normed", "own"])
    level = level_of(run(tmp_path, pruner=chosen, levels=1), 1)
    whole = {name for name, mask in level.masks.items() if mask.all()}
    assert whole == {
        "lstm.weight_ih_l0", "lstm.weight_hh_l0", "lstm.weight_hr_l0", "own.weight",
        "normed.parametrizations.weight.original1",
    }  # fmt: skip


@pytest.mark.parametrize("schedule", ["rewind", "finetune", "scratch", "lr-rewind"])
def test_a_module_with_normed_layers_that_is_handed_over_trains_by_every_schedule(
    tmp_path, schedule
):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(), parametrizations.weight_norm(nn.Linear(40, 6)), nn.ReLU(),
        parametrizations.spectral_norm(nn.Linear(6, 6)), nn.ReLU(), nn.Linear(6, 2),
    )  # fmt: skip
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    result = run(tmp_path, network, pruner=pruner("imp"), retrain=schedule, train={"epochs": 2})
    assert result.sparsity[2] > 0.8
    assert not any(level.diverged for level in result.levels)
    assert all(torch.equal(before[name], one) for name, one in network.state_dict().items())


def test_what_the_models_authors_exempt_can_be_included(tmp_path):
    """Unless it is exempt by the user's own word."""
    for options, whole in (({}, True), ({"include": ["output"]}, False),
                           ({"include": ["output"], "exempt": ["output"]}, True)):  # fmt: skip
        result = go(small(pruner=pruner("random", scope="layer", **options), levels=1), tmp_path)
        assert bool(level_of(result, 1).masks["output.weight"].all()) == whole, options


class Log:
    def __init__(self):
        self.trained = []

    @sdd_core.hookimpl
    def sdd_level_start(self, level):
        self.trained.append(level)


def test_the_dense_network_is_shared_whatever_is_included(tmp_path):
    trained = {}
    for which, include in (("with", ["own"]), ("without", None), ("again", ["own"])):
        log = Log()
        chosen = pruner("imp") if include is None else pruner("imp", include=include)
        result = sdd_core.run({"train": {"epochs": 1}, "levels": 1, "noise": "none"}, model=mixed,
                              pruner=chosen, train=TRAIN, test=TEST, store=tmp_path, device="cpu",
                              observers=[log])  # fmt: skip
        trained[which] = log.trained
        names = result.levels[0].metrics["sparsity_by_layer"]
        assert ("own.weight" in names) == (include is not None), which
        assert result.levels[1].sparsity == pytest.approx(0.6, abs=0.01)
    assert trained == {"with": [0, 1], "without": [1], "again": []}


def test_levels_of_when_fewer_layers_were_known_are_trained_again(tmp_path, monkeypatch, capsys):
    settings = {"pruner": pruner("imp", include=["own"]), "metrics": ["accuracy", "sparsity"]}
    with monkeypatch.context() as then:
        then.setattr(layers, "PRUNABLE", {nn.Linear: ("weight",)})
        before = run(tmp_path, **settings)
        assert next(iter(level_of(before, 1).masks)) == "own.weight"
    capsys.readouterr()
    after = run(tmp_path, **settings)
    said = capsys.readouterr().err
    assert after.run == before.run
    for index in range(3):
        assert f"level {index} was made when other layers could be pruned" in said
    fresh = run(tmp_path / "fresh", **settings)
    assert [level.metrics for level in after.levels] == [level.metrics for level in fresh.levels]
    assert after.sparsity == fresh.sparsity
    for index in range(3):
        assert level_of(after, index).masks.keys() == level_of(fresh, index).masks.keys()
    run(tmp_path, **settings)
    assert "could be pruned" not in capsys.readouterr().err


def test_a_run_says_what_it_leaves_out(tmp_path, capsys):
    run(tmp_path, words, pruner=pruner("imp", include=["words"]), levels=1)
    said = [line for line in capsys.readouterr().err.splitlines() if "can be pruned" in line]
    assert said == [
        "sdd: only 20.0 % of this network's 80 weights can be pruned; left out are own (Own's "
        "own); pruner.include takes patterns of layers to prune too, pruner.exempt of those that "
        "stay whole"
    ]
    run(tmp_path, words, pruner=pruner("imp", include=["words", "own"]), levels=1)
    run(tmp_path, words, pruner=pruner("imp", include=["words"]), levels=0)
    assert "can be pruned" not in capsys.readouterr().err


def test_a_floor_that_cannot_be_kept_is_known_before_training(tmp_path):
    for scope in ("global", "layer", "output", "erk"):
        chosen = {"name": "imp", "scope": scope, "keep_at_least": 0.2, "fraction": 0.4}
        with pytest.raises(SddError, match=r"keep_at_least 0\.2 leaves too few weights for level "):
            go(small(pruner=chosen, levels=9), tmp_path)
        result = go(small(pruner=chosen, levels=2), tmp_path / scope)
        assert result.sparsity == go(small(pruner=pruner("imp", fraction=0.4, scope=scope)),
                                     tmp_path / scope).sparsity  # fmt: skip
    assert not list(tmp_path.glob("*-seed0-*"))


def test_a_run_keeps_what_it_was_told_to_and_its_count(tmp_path):
    usual = {"name": "imp", "sparsity": [0.9, 0.98], "exempt": []}
    model = {"name": "mlp", "widths": [64, 8, 8]}
    settings = {"model": model, "train": {"epochs": 1}}
    held = go({**settings, "pruner": {**usual, "keep_at_least": 20}}, tmp_path)
    free = go({**settings, "pruner": usual}, tmp_path)
    assert held.sparsity == free.sparsity
    assert held.run != free.run
    for level in (1, 2):
        kept = [int(mask.sum()) for mask in level_of(held, level).masks.values()]
        assert min(kept) >= 20
    kept = [int(mask.sum()) for mask in level_of(free, 2).masks.values()]
    assert min(kept) < 20


@pytest.mark.parametrize("value", [0, -1, 1.5, "many", 0.0])
def test_a_floor_is_a_count_or_a_fraction(value):
    with pytest.raises(SddError, match=r"^pruner\.keep_at_least") as caught:
        sdd_core.Experiment.make({"pruner": {"keep_at_least": value}})
    assert "\n" not in str(caught.value)


def test_the_record_of_a_run_holds_the_new_options(tmp_path):
    chosen = {"name": "imp", "include": ["output"], "keep_at_least": 2.0}
    result = go(small(pruner=chosen), tmp_path)
    text = (result.folder / "experiment.toml").read_text()
    assert "keep_at_least = 2\n" in text
    assert "output" in text
    assert json.loads(json.dumps(result.experiment.settings()))["pruner.keep_at_least"] == 2
