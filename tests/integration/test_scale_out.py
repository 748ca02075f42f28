"""The measurement of scaling out, end to end with tiny numbers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import gateway
from bench.sizing import read_measured
from tests.support.servers import required

ROOT = Path(gateway.__file__).parents[1]
BENCH = {"figures": [{"name": n, "value": 1.0} for n in ("channels-cpu", "memory")]}


@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_tiny_run_measures_all_that_sizing_reads(directory: Path) -> None:
    required("redis-server")
    file = directory / "scale_out.json"
    command = [sys.executable, "-m", "bench.scale_out", "--quick", "--json", str(file)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=220)

    assert done.returncode == 0, done.stderr
    assert "2 replicas, 20 sockets each, 1 outstanding" in done.stdout
    report = json.loads(file.read_text())
    assert report["failures"] == []
    assert "nothing pinned" in report["machine"]["cores"]
    figures = {figure["name"]: figure["value"] for figure in report["figures"]}
    assert figures["spread-2-1"] > 0
    assert figures["restore-reads"] >= 1
    assert figures["handover-1000"] >= figures["handover-1000-caught_up-50"] > 0
    assert figures["handover-1000-reads"] > 0
    assert read_measured(report, BENCH).restored_per_second > 0
