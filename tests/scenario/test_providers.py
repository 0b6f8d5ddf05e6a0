"""One pipeline, any provider: the faults of test_faults.py with the providers that have uploads and tags.

Behaviour, stimulus and oracle are those of test_faults.py; only the model's name is another.
"""
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]
import test_faults  # noqa: E402
from harness import OTHERS  # noqa: E402
from test_faults import pipeline  # noqa: E402, F401

# Of Anthropic's own wire.
ANTHROPIC_ONLY = {"times with Z", "the spend cap, lifted later"}


@pytest.fixture(params=OTHERS)
def provider(request, pipeline):  # noqa: F811
    yaml = pipeline / "pipeline.yaml"
    yaml.write_text(yaml.read_text().replace("claude-haiku-4-5", OTHERS[request.param]))
    return request.param


@pytest.mark.parametrize("name", [n for n in test_faults.HARMLESS if n not in ANTHROPIC_ONLY])
def test_harmless(tmp_path, pipeline, provider, name):  # noqa: F811
    test_faults.test_harmless(tmp_path, pipeline, name)


@pytest.mark.parametrize("name", test_faults.ASKED_AGAIN)
def test_asked_again(tmp_path, pipeline, provider, name):  # noqa: F811
    test_faults.test_asked_again(tmp_path, pipeline, name)


@pytest.mark.parametrize("name", ["test_fenced_answer_is_taken_out", "test_refusals_fail_and_are_listed",
                                  "test_cancel", "test_a_cap_stops_the_sending"])
def test_whole(tmp_path, pipeline, provider, name):  # noqa: F811
    if provider == "mistral" and "refusals" in name:
        pytest.skip("Mistral's API has no sign of a refusal")
    getattr(test_faults, name)(tmp_path, pipeline)
