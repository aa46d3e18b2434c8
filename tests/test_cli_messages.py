"""What the command line says about options that it cannot take."""

from pathlib import Path

import pytest

from meshreg.cli import main

SCHEMES = "cihp, lip, atr, fashionpedia, sapiens, sapiens2"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("synth --count abc", "--count: expected a whole number, found 'abc'."),
        ("synth --count 2.5", "--count: expected a whole number, found '2.5'."),
        ("synth --count=", "--count: expected a whole number, found ''."),
        (
            "synth --bench foo",
            "--bench: expected one of synth-bench-v1, synth-bench-v1-motion, found 'foo'.",
        ),
        ("synth --count", "--count: expected a value, found none."),
        ("synth --config nowhere.yaml", "--config: file does not exist: "),
        ("synth --cuont 3", "--cuont"),
        ("fit a.png --scheme foo", f"--scheme: expected one of {SCHEMES}, found 'foo'."),
        ("fit a.png --fov x", "--fov: expected a number, found 'x'."),
        ("fit a.png --turntable=maybe", "--turntable: expected true or false, found 'maybe'."),
        (
            "fit a.png --settings.candidates=a",
            "--settings.candidates: expected a whole number, found 'a'.",
        ),
        ("fit a.png --settings.steps=[1,a]", "--settings.steps: expected 5 values, found '[1, "),
        ("fit", "expected image after the command, found nothing"),
        ("models add", "expected path after the command, found nothing"),
        ("prior learn --smoothing nan", "--smoothing: expected a number, found 'nan'."),
        ("train --data.size abc", "--data.size: expected a whole number, found 'abc'."),
        (
            "train --data.sources.people.kind=foo",
            "--data.sources.kind: expected one of synthetic, shards, spin, bedlam, threedpw, "
            "found 'foo'.",
        ),
        ("synthh", "there is no command 'synthh': choose from 'predict', 'fit', 'lift', 'models'"),
        ("models", "expected a command after meshreg models: choose from list, add, bake."),
        ("", "expected a command after meshreg: choose from predict, fit, lift, models,"),
    ],
)
def test_faulty_options_are_told_in_plain_words(
    given: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(given.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("meshreg: error: ") and error.count("\n") == 1, error
    assert said in error
    for jargon in ("<class", "typing", "Parser key", "NoneType"):
        assert jargon not in error
    assert not list(tmp_path.iterdir())
