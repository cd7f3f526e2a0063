"""`python -m training`, from its arguments to its exit code."""

from pathlib import Path

import pytest

from tests.training.toys import TOY, TOY_SIZES
from training.__main__ import main
from training.networks import load_networks


def test_it_makes_a_checkpoint_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("training.__main__.STANDARD", TOY)
    out = tmp_path / "models" / "toy.safetensors"
    arguments = ["tiny", "--seed", "1", "--work", str(tmp_path / "work"), "--out", str(out)]
    with caplog.at_level("INFO"):
        assert main([*arguments, "--unet-steps", "1", "--decoder-steps", "1"]) == 0
    assert load_networks(out, TOY_SIZES).unet.config == TOY_SIZES.unet
    assert str(out) in caplog.text


def test_a_missing_start_is_an_error_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing.safetensors"
    assert main(["tiny", "--init", str(missing), "--work", str(tmp_path / "work")]) == 1
    assert str(missing) in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["paint"], ["lora", "--style", "cubist"], ["tiny", "--threads", "9"]]
)
def test_wrong_arguments_exit_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage" in capsys.readouterr().err
