"""Data sets, held in memory."""

from sdd_core import DataSource, hookimpl
from sdd_plugins.data.cifar import Cifar10, Cifar100
from sdd_plugins.data.digits import Digits
from sdd_plugins.data.hugging_face import HuggingFace
from sdd_plugins.data.image_folder import ImageFolder
from sdd_plugins.data.mnist import FashionMnist, Mnist
from sdd_plugins.data.tiny_imagenet import TinyImageNet


@hookimpl
def sdd_data_sources() -> list[type[DataSource]]:
    return [Digits, Mnist, FashionMnist, Cifar10, Cifar100, TinyImageNet, ImageFolder, HuggingFace]
