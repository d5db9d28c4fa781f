"""Networks."""

from sdd_core import Model, hookimpl
from sdd_plugins.models.mlp import Mlp
from sdd_plugins.models.resnet import ResNet18, ResNet20, ResNet32, ResNet56, TinyImageNetResNet101
from sdd_plugins.models.vgg import Vgg11, Vgg13, Vgg16, Vgg19


@hookimpl
def sdd_models() -> list[type[Model]]:
    return [
        Mlp,
        ResNet18,
        ResNet20,
        ResNet32,
        ResNet56,
        TinyImageNetResNet101,
        Vgg11,
        Vgg13,
        Vgg16,
        Vgg19,
    ]
