"""Images that are mirrored and shifted: against padding and slicing, on tiles too, and the same each time."""

import numpy as np
import pytest

from dbmpi.data.augment import Augmentation, draws

RNG = np.random.default_rng(9)
X = RNG.integers(0, 256, (50, 6, 5, 2)).astype("u1")
WHOLE = ((0, 6), (0, 5), (0, 2))
ROWS = np.arange(50) + 1000


def possible(image: np.ndarray, shift: int, flip: bool) -> list[bytes]:
    """Return all that an image may become."""
    padded = np.pad(image, ((shift, shift), (shift, shift), (0, 0)), mode="edge")
    moves = range(2 * shift + 1)
    cut = [padded[i : i + 6, j : j + 5] for i in moves for j in moves]
    return [one.tobytes() for one in (*cut, *([image[:, ::-1] for image in cut] if flip else []))]


@pytest.mark.parametrize(("flip", "shift"), [(True, 0), (False, 2), (True, 1)])
def test_each_image_is_one_of_those_it_may_become(flip: bool, shift: int) -> None:
    made = Augmentation(flip, shift, 7)
    seen = [
        made.cut(X, np.arange(50), epoch, ROWS, WHOLE)[n].tobytes() for epoch in range(20) for n in range(50)
    ]
    ways = [possible(X[n % 50], shift, flip).index(one) for n, one in enumerate(seen)]
    counts = np.bincount(ways, minlength=(2 if flip else 1) * (2 * shift + 1) ** 2)
    expected = len(seen) / len(counts)
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_tiles_are_cut_of_the_same_images_whatever_else_is_in_the_minibatch() -> None:
    made = Augmentation(True, 3, 7)
    whole = made.cut(X, np.arange(50), 4, ROWS, WHOLE)
    some = np.array([40, 3, 17])
    tile = made.cut(X, some, 4, ROWS[some], ((2, 6), (1, 3), (0, 2)))
    np.testing.assert_array_equal(tile, whole[some, 2:6, 1:3])


def test_seed_epoch_and_row_all_count() -> None:
    found = [draws(seed, epoch, ROWS) for seed in (1, 2) for epoch in (0, 1)]
    assert len(np.unique(found)) == 200
    np.testing.assert_array_equal(draws(1, 0, ROWS[7:9]), found[0][7:9])
