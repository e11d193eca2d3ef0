"""Posters to learn things from."""

from collections import Counter
from collections.abc import Callable
from itertools import combinations

import pytest

from polarlight.worlds.atlas import extent
from polarlight.worlds.catalogue import by_name, tile_index
from polarlight.worlds.layout import held_out_things
from polarlight.worlds.posters import Posters
from polarlight.worlds.scene import Scene, picture_size
from polarlight.worlds.subjects import POSITION, apart, house_scene, plain, subject_scene, upright


def test_one_to_four_things_without_texts_and_nothing_held_out() -> None:
    scenes = [subject_scene(seed) for seed in range(200)]
    counts = Counter(len(scene.spec["objects"]) for scene in scenes)
    assert set(counts) == {1, 2, 3, 4}
    assert counts[2] > counts[1] > counts[3]
    assert not any(scene.spec["texts"] or held_out_things(scene.spec) for scene in scenes)
    assert Scene.from_json(scenes[5].to_json()) == scenes[5] == subject_scene(5)


@pytest.mark.parametrize(("draw", "sizes"), [(subject_scene, (32, 48)), (house_scene, (32, 48, 64))])
def test_tiles_fill_whole_positions_in_few_sizes(draw: Callable[[int], Scene], sizes: tuple[int, ...]) -> None:
    for scene in map(draw, range(60)):
        high, wide = picture_size(scene.spec["aspect"])
        for thing in scene.spec["objects"]:
            x0, y0, x1, _ = extent(tile_index()[thing["name"]], thing["rotation"], thing["flip"])
            left, top, right = thing["box"][0] * wide, thing["box"][1] * high, thing["box"][2] * wide
            side = (right - left) / (x1 - x0)
            assert min(abs(side - size) for size in (sizes if len(scene.spec["objects"]) > 1 else (32, 48, 64))) < 0.1
            for value in (side, left - x0 * side - side / 2, top - y0 * side - side / 2):
                assert abs(value / POSITION - round(value / POSITION)) < 0.01


def test_things_stand_upright_and_subjects_in_daylight() -> None:
    assert all(plain(subject_scene(seed).spec) for seed in range(60))
    houses = [house_scene(seed).spec for seed in range(60)]
    assert all(upright(spec) for spec in houses)
    assert not all(plain(spec) for spec in houses)  # by night too
    assert any(spec["texts"] for spec in houses)
    assert not all(upright(Posters().sample(seed).spec) for seed in range(60))


def test_rare_things_come_more_often_than_elsewhere() -> None:
    def everyday(draw: Callable[[int], Scene]) -> float:
        names = [thing["name"] for seed in range(300) for thing in draw(seed).spec["objects"]]
        return sum(by_name()[name].core for name in names) / len(names)

    assert everyday(subject_scene) < everyday(Posters().sample)


def test_no_thing_hides_another() -> None:
    specs = [subject_scene(seed).spec for seed in range(100)]
    assert all(apart(spec) for spec in specs)
    hidden = [spec for spec in (Posters().sample(seed).spec for seed in range(300)) if not apart(spec)]
    assert hidden
    boxes = [thing["box"] for thing in hidden[0]["objects"]]
    assert any(
        min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1]) for a, b in combinations(boxes, 2)
    )
