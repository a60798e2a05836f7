"""Engines that do something at one iteration, once: for workers, which import them here."""

import os
import signal
import time
from pathlib import Path

from ultramc.engines.on_numpy import NumPyEngine

DEEDS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "exit": lambda: os._exit(3),
    "abort": os.abort,
    "sleep": lambda: time.sleep(1),
    "fail": lambda: (_ for _ in ()).throw(MemoryError("no room")),
    "fail unpicklably": lambda: (_ for _ in ()).throw(Unpicklable("cannot travel")),
}


class Unpicklable(Exception):
    def __reduce__(self):
        raise TypeError("not to be pickled")


class Once(NumPyEngine):
    """Does `deed` where iteration `at` is to be computed; with a `folder`, only the first time, of all processes."""

    name = "once"

    def __init__(self, deed, at, folder=None, **options):
        super().__init__(**options)
        self.deed, self.at, self.folder = deed, at, folder

    def run(self, executable, job, first, count):
        if first <= self.at < first + count and (self.folder is None or _is_first(self.folder)):
            DEEDS[self.deed]()
        return super().run(executable, job, first, count)


def _is_first(folder):
    try:
        Path(folder, "done").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


class Slow(NumPyEngine):
    """`compiling` seconds to compile, and `running` for each chunk."""

    name = "slow"

    def __init__(self, compiling=0.0, running=0.0):
        super().__init__()
        self.compiling, self.running = compiling, running

    def compile(self, program):
        time.sleep(self.compiling)
        return super().compile(program)

    def run(self, executable, job, first, count):
        time.sleep(self.running)
        return super().run(executable, job, first, count)


class Different(Once):
    """Gives other last bits in another process than the one that made it, beside what it does at iteration `at`."""

    name = "different"

    def __init__(self, deed="sleep", at=-1, home=None):
        super().__init__(deed, at)
        self.home = home or os.getpid()

    def run(self, executable, job, first, count):
        chunk = super().run(executable, job, first, count)
        if os.getpid() != self.home:
            chunk.payloads[0][:] *= 1 + 2**-52
        return chunk
