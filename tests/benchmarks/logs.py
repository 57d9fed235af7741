# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log writer beside multilog, svlogd and s6-log, in one run on one tmpfs: bulk speed, CPU per line, memory.

python tests/benchmarks/logs.py [--python /usr/bin/python3] [--megabytes 200] [--seconds 5] [--top /dev/shm]
"""

from __future__ import annotations

import argparse
import array
import fcntl
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from log_tables import Table

ROTATE = 16_000_000
RUNS = 3
OURS = "holdfast"
PEERS = {
    "multilog t": lambda directory: ["multilog", "t", f"s{ROTATE}", "n5", directory],
    "svlogd -tt": lambda directory: ["svlogd", "-tt", directory],
    "s6-log t": lambda directory: ["s6-log", "t", f"s{ROTATE}", "n5", directory],
}


def available() -> dict[str, Callable[[str], list[str]]]:
    """The peers that are installed."""
    return {name: command for name, command in PEERS.items() if shutil.which(name.split()[0])}


def cpu(pids: list[int]) -> float:
    """Seconds of CPU that the processes have used."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / 1e9


def waiting(descriptor: int) -> int:
    """Bytes in a FIFO."""
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]


def settle(descriptors: list[int]) -> None:
    """Return when the FIFOs are empty."""
    while any(waiting(descriptor) for descriptor in descriptors):
        time.sleep(0.0005)


def sample(path: Path, length: int, megabytes: int) -> None:
    """A file of lines of ``length`` bytes, newline included."""
    block = b"".join(b"%0*d\n" % (length - 1, number) for number in range(10_000))
    with path.open("wb") as file:
        for _unused in range(megabytes * 1_000_000 // len(block)):
            file.write(block)


def feed(source: Path, fifo: Path, descriptor: int) -> float:
    """Seconds that it takes until the reader of ``fifo`` has taken all of ``source``."""
    begin = time.perf_counter()
    with fifo.open("wb") as output:
        subprocess.run(["cat", str(source)], stdout=output, check=True)
    settle([descriptor])
    return time.perf_counter() - begin


def bulk(top: Path, source: Path, python: str) -> dict[str, float]:
    """MB/s of input for each logger: the best of RUNS, because the machine is shared."""
    size = source.stat().st_size / 1e6
    speeds: dict[str, list[float]] = {}
    for run in range(RUNS):
        place = top / f"bulk{run}"
        table = Table(place, python)
        table.add("a", size=ROTATE, count=5)
        table.start()
        table.write("a", b"ready\n")
        table.wait_for("a", b"ready")
        descriptor = os.open(table.fifos / "a", os.O_RDWR)
        speeds.setdefault(OURS, []).append(size / feed(source, table.fifos / "a", descriptor))
        os.close(descriptor)
        table.stop()
        table.close()
        shutil.rmtree(place)
        for name, command in available().items():
            directory = place / "peer"
            directory.mkdir(parents=True)
            (directory / "config").write_text(f"s{ROTATE}\nn5\n")
            begin = time.perf_counter()
            with subprocess.Popen(["cat", str(source)], stdout=subprocess.PIPE) as cat:
                subprocess.run(command(str(directory)), stdin=cat.stdout, check=True, stderr=subprocess.DEVNULL)
            speeds.setdefault(name, []).append(size / (time.perf_counter() - begin))
            shutil.rmtree(place)
    return {name: max(values) for name, values in speeds.items()}


def write_lines(descriptors: list[int], rate: int, seconds: float) -> int:
    """Write single lines to all FIFOs in turn, ``rate`` per second in all; the number of lines."""
    line = b"%098d\n" % 7
    written = 0
    begin = time.perf_counter()
    total = int(rate * seconds)
    while written < total:
        due = min(int((time.perf_counter() - begin) * rate), total)
        while written < due:
            os.write(descriptors[written % len(descriptors)], line)
            written += 1
        time.sleep(0.0005)
    settle(descriptors)
    return written


def scattered(top: Path, logs: int, rate: int, seconds: float, python: str) -> dict[str, float]:
    """Microseconds of CPU per line for ``logs`` logs."""
    result = {}
    names = [f"s{number}" for number in range(logs)]
    table = Table(top / "scattered", python)
    for name in names:
        table.add(name)
    process = table.start()
    for name in names:
        table.write(name, b"ready\n")
        table.wait_for(name, b"ready")
    descriptors = [os.open(table.fifos / name, os.O_RDWR) for name in names]
    before = cpu([process.pid])
    written = write_lines(descriptors, rate, seconds)
    result[OURS] = (cpu([process.pid]) - before) / written * 1e6
    for descriptor in descriptors:
        os.close(descriptor)
    table.stop()
    table.close()
    for name, command in available().items():
        place = top / name.replace(" ", "")
        processes, descriptors = [], []
        for log in names:
            (place / log).mkdir(parents=True)
            fifo = place / f"{log}.fifo"
            os.mkfifo(fifo)
            descriptors.append(os.open(fifo, os.O_RDWR))
            with fifo.open("rb") as stdin:
                processes.append(subprocess.Popen(command(str(place / log)), stdin=stdin, stderr=subprocess.DEVNULL))
        write_lines(descriptors, logs * 10, 0.5)
        pids = [process.pid for process in processes]
        before = cpu(pids)
        written = write_lines(descriptors, rate, seconds)
        result[name] = (cpu(pids) - before) / written * 1e6
        for descriptor in descriptors:
            os.close(descriptor)
        for process in processes:
            process.wait()
    return result


def memory(pid: int) -> dict[str, int]:
    """PSS and private memory, kB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    values = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return {
        "PSS": values["Pss"],
        "RSS": values["Rss"],
        "private": values["Private_Clean"] + values["Private_Dirty"],
        "private dirty": values["Private_Dirty"],
    }


def switches(pid: int) -> int:
    """Context switches of the process so far."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)


def resident(top: Path, logs: int, seconds: float, python: str) -> tuple[dict[str, int], int, float]:
    """Memory after every log got a line and one got many, wake-ups while idle, seconds from start to the last line."""
    table = Table(top / f"resident{logs}", python)
    names = [f"s{number}" for number in range(logs)]
    for name in names:
        table.add(name)
        table.write(name, b"%098d\n" % 1)
    begin = time.perf_counter()
    process = table.start()
    while any(table.waiting(name) for name in reversed(names)):
        time.sleep(0.005)
    started = time.perf_counter() - begin
    for _unused in range(1000):
        table.write("s0", (b"%098d\n" % 1) * 600)
    while table.waiting("s0"):
        time.sleep(0.005)
    time.sleep(1)
    before = switches(process.pid)
    time.sleep(seconds)
    woken = switches(process.pid) - before
    figures = memory(process.pid)
    table.stop()
    table.close()
    return figures, woken, started


def show(title: str, unit: str, figures: dict[str, float], more_is_better: bool) -> None:
    """A table with every peer's ratio to us: above 1 we are better."""
    print(f"\n{title} [{unit}]")
    for name, value in figures.items():
        ratio = figures[OURS] / value if more_is_better else value / figures[OURS]
        print(f"  {name:<12} {value:8.1f}   " + ("" if name == OURS else f"holdfast is {ratio:.2f} times as good"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--idle", type=float, default=20)
    parser.add_argument("--top", default="/dev/shm")
    options = parser.parse_args()
    _unused, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    top = Path(tempfile.mkdtemp(prefix="holdfast-logs-", dir=options.top))
    try:
        for length in (99, 18):
            sample(top / "sample", length, options.megabytes)
            show(f"bulk, lines of {length} bytes", "MB/s", bulk(top, top / "sample", options.python), True)
        (top / "sample").unlink()
        figures = [scattered(top / f"r{run}", 100, 10_000, options.seconds, options.python) for run in range(RUNS)]
        medians = {name: statistics.median(run[name] for run in figures) for name in figures[0]}
        show("scattered, 100 logs, 10 000 lines/s", "us CPU per line", medians, False)
        print("\nmemory [kB], wake-ups while idle, seconds from start to the first line of the last log")
        for logs in (200, 1000):
            values, woken, started = resident(top, logs, options.idle, options.python)
            text = ", ".join(f"{name} {value}" for name, value in values.items())
            print(f"  {logs:>4} logs: {text}; {woken} wake-ups in {options.idle:g} s; {started:.2f} s")
    finally:
        shutil.rmtree(top)


if __name__ == "__main__":
    main()
