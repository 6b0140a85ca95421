"""The manifest: npe2 drops what it does not know without a word, so every entry is looked at."""

import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
from napari._app_model.constants import MenuId
from napari.layers import Layer
from npe2 import PluginManifest
from viewer_support import PLUGIN, WIDGET

import mdn_cupy as mdn

MANIFEST = PluginManifest.from_distribution(PLUGIN)
CONTRIBUTIONS = MANIFEST.contributions
ALL = {command.id: command for command in CONTRIBUTIONS.commands}
COMMANDS = {k: v for k, v in ALL.items() if not v.python_name.startswith("mdn_viewer.actions:")}


@pytest.mark.slow
def test_npe2_finds_it_valid():
    code = "from npe2.cli import main; main()"
    command = [sys.executable, "-c", code, "validate", "--imports", PLUGIN]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "valid" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_used(name):
    module, function = COMMANDS[name].python_name.split(":")
    assert callable(getattr(import_module(module), function))
    contributed = [
        *CONTRIBUTIONS.readers,
        *CONTRIBUTIONS.sample_data,
        *CONTRIBUTIONS.widgets,
        *CONTRIBUTIONS.writers,
    ]
    assert name in {contribution.command for contribution in contributed}


def test_every_contribution_names_a_command():
    items = [item for menu in CONTRIBUTIONS.menus.values() for item in menu]
    others = [
        *CONTRIBUTIONS.readers,
        *CONTRIBUTIONS.sample_data,
        *CONTRIBUTIONS.widgets,
        *CONTRIBUTIONS.writers,
    ]
    assert {contribution.command for contribution in [*items, *others]} == COMMANDS.keys()


def test_every_menu_exists():
    assert CONTRIBUTIONS.menus.keys() <= {str(menu) for menu in MenuId.contributables()}
    assert CONTRIBUTIONS.menus


def test_no_keys_are_taken():
    assert not CONTRIBUTIONS.keybindings


def test_what_it_contributes():
    assert [reader.filename_patterns for reader in CONTRIBUTIONS.readers] == [
        ["*.mdn", "*.npz", "*.h5", "*.hdf5", "*.hdf", "*.pt", "*.pth"],
        ["*.mdn-session"],
    ]
    assert [writer.filename_extensions for writer in CONTRIBUTIONS.writers] == [[".mdn"]]
    assert [widget.display_name for widget in CONTRIBUTIONS.widgets] == [WIDGET]
    assert sorted(sample.key for sample in CONTRIBUTIONS.sample_data) == mdn.samples.names()


@pytest.mark.parametrize("sample", CONTRIBUTIONS.sample_data, ids=lambda sample: sample.key)
def test_every_sample_opens(sample):
    module, function = COMMANDS[sample.command].python_name.split(":")
    layers = [Layer.create(*layer) for layer in getattr(import_module(module), function)()]
    assert [layer.name for layer in layers] == [
        f"{sample.key} {role}" for role in ("image", "confidence", "offsets")
    ]
    fields = mdn.samples.load(sample.key)
    np.testing.assert_array_equal(layers[1].data, fields.confidence)
