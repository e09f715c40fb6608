"""Freed buffers are kept between steps."""

import os
import subprocess
import sys
import textwrap

import pytest


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is asked, Linux only")
def test_buffers_that_come_again_cost_no_page_faults():
    code = """
        import resource, sys
        import numpy as np
        from zoo.training.allocator import keep_freed_memory

        if sys.argv[1] == "kept" and not keep_freed_memory():
            print("not glibc")
            raise SystemExit
        def work():
            for _ in range(5):
                np.ones(2**24, "float32")
        work()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        work()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    """
    # Huge pages would hide the faults that are counted here.
    environment = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}
    faults = {
        how: subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), how],
            env=environment,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for how in ("default", "kept")
    }
    if faults["kept"] == "not glibc":
        pytest.skip("this C library has no mallopt")
    assert int(faults["kept"]) < 0.1 * int(faults["default"]), faults
