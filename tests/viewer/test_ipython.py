"""In IPython and in Jupyter `show` goes on at once, and updates come between the inputs."""

import os
import sys
import time

import pexpect
import pytest
from jupyter_client.manager import start_new_kernel

LONG = 90  # seconds: the machine may be busy
SHOW = "import mdn_viewer; window = mdn_viewer.show('delta'); window.widget.wait()"
HALVE = """
import threading, mdn_cupy as mdn
fields = mdn.samples.load('delta')
values = 0.5 * fields.confidence, fields.offsets
threading.Thread(target=window.update, args=values).start()
"""
LOOK = "print('highest', float(window.widget.model.session.fields.confidence.max()))"


@pytest.mark.slow
@pytest.mark.window
def test_a_kernel_of_jupyter(qapp):
    manager, client = start_new_kernel(startup_timeout=LONG, env=os.environ.copy())
    try:

        def run(cell):
            said = []

            def hear(message):
                content = message["content"]
                said.append(content.get("text") or "\n".join(content.get("traceback", [])))

            reply = client.execute_interactive(cell, timeout=LONG, output_hook=hear)
            assert reply["content"]["status"] == "ok", said
            return "".join(said)

        run(SHOW)
        assert "highest 1.0" in run(LOOK)
        run(HALVE)
        until = time.monotonic() + LONG
        while "highest 0.5" not in (said := run(LOOK)):
            assert time.monotonic() < until, said
            time.sleep(0.5)  # in which the kernel has nothing to do but the window
        run("window.close()")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.mark.slow
@pytest.mark.window
def test_a_terminal_of_ipython(qapp, tmp_path):
    options = ["-m", "IPython", "--no-banner", "--colors=NoColor", "--no-confirm-exit"]
    # A dumb terminal has no loop of events at its prompt; this one is not asked for its cursor.
    kind = {"IPYTHONDIR": str(tmp_path), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    terminal = pexpect.spawn(sys.executable, options, env={**os.environ, **kind}, timeout=LONG)
    try:
        terminal.expect(r"In \[\d+\]")
        terminal.send(f"{SHOW}; print('went', 'on')\r")
        terminal.expect("went on")
        terminal.send(f"{LOOK}\r")
        terminal.expect(r"highest 1\.0")
        terminal.send("; ".join(HALVE.split("\n")[1:-1]) + "; print('be', 'gun')\r")
        terminal.expect("be gun")
        until = time.monotonic() + LONG
        terminal.send(f"{LOOK}\r")
        while terminal.expect([r"highest 0\.5", r"highest 1\.0"]) == 1:
            assert time.monotonic() < until
            time.sleep(0.5)  # in which the prompt has nothing to do but the window
            terminal.send(f"{LOOK}\r")
        terminal.send("window.close()\r")
        terminal.expect(r"In \[\d+\]")
        terminal.send("exit\r")
        terminal.expect(pexpect.EOF)
    finally:
        terminal.close(force=True)
