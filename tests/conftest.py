"""Fixtures of the scenario tests: the program with folders of its own, an emulator beside it."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import harness  # noqa: E402
import postgres as postgres_server  # noqa: E402


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


@pytest.fixture(scope="session")
def postgres_once():
    missing = postgres_server.missing()
    if missing:
        pytest.skip(missing)
    server = postgres_server.Postgres()
    server.start()
    yield server
    server.close()


@pytest.fixture
def postgres(postgres_once):
    """A PostgreSQL server, one for all tests; it runs, whatever the test before did to it."""
    if postgres_once.process.poll() is not None:
        postgres_once.start()
    return postgres_once
