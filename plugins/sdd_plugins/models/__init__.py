"""Networks."""

from sdd_core import Model, hookimpl
from sdd_plugins.models.mlp import Mlp
from sdd_plugins.models.resnet import ResNet18, ResNet20, ResNet32, ResNet56, TinyImageNetResNet101
from sdd_plugins.models.timm_models import TimmModel
from sdd_plugins.models.torchvision_models import TorchvisionModel
from sdd_plugins.models.vgg import Vgg11, Vgg13, Vgg16, Vgg19
from sdd_plugins.models.vit import VisionTransformer


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
        VisionTransformer,
        TorchvisionModel,
        TimmModel,
    ]
