"""Tests against libraries that `sdd` can do without: those that are installed are tested, with
`pip install -e '.[all]'` every one of them. None of them needs a network."""

from importlib.util import find_spec

NEEDS = {
    "test_hugging_face.py": "datasets",
    "test_timm.py": "timm",
    "test_tensorboard.py": "tensorboard",
    "test_mlflow.py": "mlflow",
    "test_wandb.py": "wandb",
    "test_trackio.py": "trackio",
    "test_onnx.py": "onnxruntime",
    "test_hub.py": "huggingface_hub",
}

collect_ignore = [file for file, package in NEEDS.items() if find_spec(package) is None]
