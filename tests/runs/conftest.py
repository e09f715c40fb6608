"""The toy model and its runs, as the tests of training have them."""

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location(
    "training_fixtures", Path(__file__).resolve().parent.parent / "training" / "conftest.py"
)
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)

toy, toy_records = _fixtures.toy, _fixtures.toy_records
train_in_process, newest_state = _fixtures.train_in_process, _fixtures.newest_state
