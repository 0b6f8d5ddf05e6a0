"""Fixtures of the scenario tests: the program with folders of its own, an emulator beside it."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import harness  # noqa: E402


@pytest.fixture
def offpeak(tmp_path):
    """The program with a fresh state folder and working folder, and no provider in reach: run(*args,
    expect=…, **env), json(*args), csv(name), ledger(sql)."""
    program = harness.Offpeak(tmp_path)
    program.env.pop("ANTHROPIC_API_KEY")
    return program


@pytest.fixture
def emulator(tmp_path):
    """Starts emulators: emulator(speed=…, faults=[…], answers=[…]) gives one with url, bill() and
    bought(); they end with the test."""
    started = []

    def start(**options):
        one = harness.Emulator(tmp_path / f"emulator-{len(started)}", **options)
        started.append(one)
        return one.__enter__()

    yield start
    for one in started:
        one.__exit__()


@pytest.fixture
def connected(tmp_path, emulator):
    """The program with a key and a fast emulator as its provider."""

    def start(**options):
        server = emulator(**options)
        program = harness.Offpeak(tmp_path, server)
        program.emulator = server
        return program

    return start
