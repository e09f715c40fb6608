"""The examples in docs/layers.md run, and the page names every layer."""

import re

from zoo import layers


def test_examples_run_in_order(repository):
    text = (repository / "docs" / "layers.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) > 10
    names = {}
    for block in blocks:
        exec(compile(block, "docs/layers.md", "exec"), names)
    used = set(re.findall(r"layers\.(\w+)", "".join(blocks)))
    assert set(layers.__all__) <= used
