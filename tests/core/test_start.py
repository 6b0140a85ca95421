"""`start.py` on machines that lack system packages."""

import importlib.util

import pytest
from helpers import ROOT


@pytest.fixture
def start():
    spec = importlib.util.spec_from_file_location("start", ROOT / "start.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def commands(start, monkeypatch):
    """A machine of Debian's without any package, and a user who is not root."""
    ran = []
    monkeypatch.setattr(start.os, "geteuid", lambda: 1000, raising=False)
    monkeypatch.setattr(start.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(start, "installed", lambda package: False)
    monkeypatch.setattr(start.subprocess, "run", lambda command, **_: ran.append(command))
    monkeypatch.setattr(start.sys.stdin, "isatty", lambda: True, raising=False)
    return ran


def test_packages_prints_them_and_does_nothing(start, commands, capsys):
    assert start.main(["packages"]) == 0
    printed = capsys.readouterr().out.split()
    assert printed == start.DEBIAN + start.DEBIAN_TESTS + start.VENV
    assert commands == []


@pytest.mark.parametrize("answer", ["y", "Yes "])
def test_it_asks_before_it_uses_sudo(start, commands, answer, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or answer)
    start.install_debian_packages(["libgl1", "libegl1"])
    assert asked == ["install them with sudo? [y/N] "]
    assert "missing: libgl1 libegl1" in capsys.readouterr().out
    assert [command[:3] for command in commands] == [
        ["sudo", "apt-get", "update"],
        ["sudo", "apt-get", "install"],
    ]
    assert commands[1][-2:] == ["libgl1", "libegl1"]


@pytest.mark.parametrize("answer", ["", "n", "what?"])
def test_without_a_yes_it_says_the_command_and_goes_on(
    start, commands, answer, monkeypatch, capsys
):
    monkeypatch.setattr("builtins.input", lambda _: answer)
    start.install_debian_packages(["libgl1"])
    assert commands == []
    assert capsys.readouterr().out.endswith("yourself: sudo apt-get install libgl1\n")


def test_without_a_terminal_it_does_not_ask(start, commands, monkeypatch, capsys):
    monkeypatch.setattr(start.sys.stdin, "isatty", lambda: False, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("asked"))
    start.install_debian_packages(["libgl1"])
    assert commands == []
    assert "sudo apt-get install libgl1" in capsys.readouterr().out


def test_root_is_not_asked(start, commands, monkeypatch):
    monkeypatch.setattr(start.os, "geteuid", lambda: 0, raising=False)
    start.install_debian_packages(["libgl1"])
    assert commands[1][0] == "apt-get"


@pytest.mark.parametrize("uv", ["/usr/bin/uv", None])
def test_it_installs_with_uv_or_else_with_pip(start, commands, monkeypatch, tmp_path, uv):
    monkeypatch.setattr(start, "ENVIRONMENT", tmp_path)
    monkeypatch.setattr(start.shutil, "which", {"uv": uv}.get)
    (tmp_path / "bin").mkdir()
    (tmp_path / "Scripts").mkdir()
    monkeypatch.setattr(
        start.subprocess, "run", lambda command, **_: commands.append(command) or Ran()
    )
    assert start.main(["viewer", "my.mdn"]) == 0
    install, run = ([str(word) for word in command] for command in commands)
    python = run[0]
    assert install[:4] == (
        ["/usr/bin/uv", "pip", "install", "--quiet"] if uv else [python, "-m", "pip", "install"]
    )
    assert python in install
    assert install[-2:] == ["--editable", f"{start.HERE}[viewer]"]
    assert run[1:] == ["-m", "mdn_viewer", "my.mdn"]


class Ran:
    returncode = 0


def test_help_teaches(start, capsys):
    assert start.main(["--help"]) == 0
    assert start.main([]) == 2
    assert "start.py packages" in capsys.readouterr().out


@pytest.mark.parametrize(("status", "tried"), [(0, 1), (2, 2)])
def test_where_uv_fails_pip_installs(start, monkeypatch, status, tried):
    ran = []

    def run(command, **how):
        ran.append(command)
        return start.subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(start.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(start.subprocess, "run", run)
    start.install("python", "mdn-cupy")
    assert [command[0] for command in ran] == ["/usr/bin/uv", "python"][:tried]
    assert all(command[-1] == "mdn-cupy" for command in ran)


def test_an_environment_that_is_not_finished_is_removed(start, commands, tmp_path, monkeypatch):
    environment = tmp_path / "env"

    def create(path, with_pip):
        (path / "bin").mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(start, "ENVIRONMENT", environment)
    monkeypatch.setattr(start.venv, "create", create)
    monkeypatch.setattr(start, "installed", lambda package: True)
    with pytest.raises(KeyboardInterrupt):
        start.main(["viewer"])
    assert not environment.exists()
