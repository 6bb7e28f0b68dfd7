import numpy as np

from tallystick.engine import pages


def test_an_array_is_writable_zero_and_of_the_shape_asked_for():
    array = pages.empty((3, 4), "<u8")
    assert (array.shape, array.dtype, array.any()) == ((3, 4), np.dtype("<u8"), False)
    array[2, 3] = 7
    assert array.sum() == 7
    assert pages.empty((0, 2), "<u8").shape == (0, 2)
