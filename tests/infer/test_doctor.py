"""What the doctor finds."""

from pathlib import Path

from polarlight.infer.doctor import shipped_weights


def test_weights_are_listed_with_their_size_and_card(tmp_path: Path) -> None:
    (tmp_path / "image.safetensors").write_bytes(bytes(100))
    (tmp_path / "image.json").write_text('{"steps": 5}')
    (tmp_path / "video.safetensors").write_bytes(bytes(7))
    assert shipped_weights(tmp_path) == [
        {"file": "image.safetensors", "bytes": 100, "card": {"steps": 5}},
        {"file": "video.safetensors", "bytes": 7, "card": None},
    ]


def test_a_folder_without_weights_is_empty(tmp_path: Path) -> None:
    assert shipped_weights(tmp_path / "nowhere") == []
