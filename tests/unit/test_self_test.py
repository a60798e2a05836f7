"""The bits that a device has to give before it is trusted are those of the reference and of NumPy."""

import numpy as np

from ultramc import reference
from ultramc.engines import self_test
from ultramc.engines.on_numpy import NumPyEngine


def test_the_digest_is_that_of_numpy():
    engine = NumPyEngine()
    chunk = engine.run(engine.compile(self_test.PROGRAM), self_test.JOB, self_test.FIRST, self_test.COUNT)
    assert self_test.digest(chunk) == self_test.DIGEST
    for place in (0, self_test.COUNT // 2 - 1, self_test.COUNT // 2, self_test.COUNT - 1):
        values = reference.evaluate(self_test.PROGRAM, self_test.JOB, self_test.FIRST + place)
        assert [payload[0, place] for payload in chunk.payloads] == [numbers[0] for numbers, _ in values]


def test_one_bit_is_another_digest():
    engine = NumPyEngine()
    chunk = engine.run(engine.compile(self_test.PROGRAM), self_test.JOB, self_test.FIRST, self_test.COUNT)
    chunk.payloads[-1].view("uint64")[0, -1] ^= np.uint64(1)
    assert self_test.digest(chunk) != self_test.DIGEST
