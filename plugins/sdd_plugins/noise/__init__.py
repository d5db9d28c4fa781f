"""Label noise: changes to the training labels."""

from sdd_core import LabelNoise, hookimpl
from sdd_plugins.noise.asymmetric import Asymmetric
from sdd_plugins.noise.human import Human
from sdd_plugins.noise.none import NoNoise
from sdd_plugins.noise.pair_flip import PairFlip
from sdd_plugins.noise.symmetric import Symmetric


@hookimpl
def sdd_label_noise() -> list[type[LabelNoise]]:
    return [NoNoise, Symmetric, PairFlip, Asymmetric, Human]
