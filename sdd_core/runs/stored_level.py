"""The weights, masks and network of a level in a run's folder, read when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdd_core.errors import SddError
from sdd_core.experiment.experiment import Experiment
from sdd_core.experiment.import_path import Imported
from sdd_core.experiment.python_value import GivenModel
from sdd_core.files.entries import SUMS, damaged_file
from sdd_core.files.reading import Damaged, exists, is_folder
from sdd_core.plugin.kinds import Model, label
from sdd_core.runs.imported import strange_sources
from sdd_core.runs.record import RECORD, Record

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sdd_core.level.level import Level


@dataclass(frozen=True)
class StoredRun:
    """What the networks of a run's levels are made from.

    model: replaces the experiment's model. trust: import the user's module also if it has changed.
    """

    folder: Path
    experiment: Experiment
    record: Record
    model: Model | None = None
    trust: bool = False

    def make_network(self) -> nn.Module:
        """Return the run's network, initialised. Raises SddError if it cannot be made here."""
        from sdd_core.experiment.build import make_network  # noqa: PLC0415 (imports torch)
        from sdd_core.plugin.isolation import Guard  # noqa: PLC0415

        inputs, classes = self.record.inputs, self.record.data.classes
        if inputs is None or classes is None:
            raise SddError(f"{self.folder / RECORD} lacks the shape of the inputs, because an "
                           f"earlier version of sdd wrote it; `sdd resume {self.folder}` adds it")
        guard = Guard(self.experiment.seed)
        return make_network(self._model(), tuple(inputs.shape), classes, guard)

    def _model(self) -> Model:
        """Return the model. Raises SddError for one whose source has changed, unless it is trusted,
        and for one that was passed in Python and is gone."""
        model = self.model or self.experiment.model
        if isinstance(model, GivenModel) and not model.is_held:
            raise SddError(f"model {label(model)!r} of {self.folder} was passed in Python; pass it "
                           "again, sdd_core.load_run(folder, model=...)")
        if isinstance(model, Imported):
            if self.trust:
                return model.current()
            if strange := strange_sources(model, self.record):
                raise SddError(f"module {strange[0]}; making the network imports and executes it, "
                               "so read it first, then use --trust, or in Python trust=True")
        return model


@dataclass(frozen=True)
class StoredLevel:
    """A level of a run; see `sdd_core.level.result.LevelResult`."""

    run: StoredRun
    level: int
    key: str

    def network(self) -> nn.Module:
        from sdd_core.runs.loading import load_state  # noqa: PLC0415 (imports torch)

        return load_state(self.run.make_network(), self.state_dict(), str(self._folder))

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self._read().state)

    def masks(self) -> Mapping[str, Tensor]:
        from sdd_core.level.masks import full_masks, prunable_weights  # noqa: PLC0415

        include = self.run.experiment.pruner.include
        if self.level == 0 and include:
            # Experiments with other pruners share the dense network, which has no masks for the
            # weights that this one includes.
            return full_masks(prunable_weights(self.run.make_network(), include))
        return self._read().masks

    @property
    def _folder(self) -> Path:
        return self.run.folder / "levels" / f"{self.level:02d}"

    def _read(self) -> Level:
        from sdd_core.runs.level_files import read_level  # noqa: PLC0415 (imports torch)

        folder = self._folder
        try:
            # Levels of earlier versions have no list of checksums.
            if self.run.record.with_checksums or exists(folder / SUMS):
                check_whole(folder)
            return read_level(folder, self.key)
        except Damaged as error:
            raise Damaged(f"level {self.level} in {folder} is damaged ({error}); `sdd resume "
                          f"{self.run.folder}` makes it again") from None


def check_whole(folder: Path) -> None:
    """Raise Damaged if a file of an entry is missing, changed or unexpected."""
    damaged = damaged_file(folder) if is_folder(folder) else folder.name
    if damaged:
        raise Damaged(f"{damaged} is missing or changed")
