"""No network and no data sets of this machine's own in any of these tests."""

import pytest

from sdd_plugins.data import cifar, files, mnist


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """Downloads fail as they do without a network; `tmp_path/system` stands for Debian's."""

    def download(self, folder):
        (folder / "half").write_bytes(b"written before the connection broke")
        raise OSError("no route to host")

    monkeypatch.setattr(files, "SYSTEM", tmp_path / "system")
    monkeypatch.setattr(mnist.Mnist, "_download", download)
    monkeypatch.setattr(cifar._Cifar, "_download", download)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
