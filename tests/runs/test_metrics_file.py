"""metrics.csv survives kills and grows columns."""

from zoo.runs.metrics_file import MetricsFile


def test_rows_after_the_resumed_step_go(tmp_path):
    path = tmp_path / "metrics.csv"
    metrics = MetricsFile(path)
    for step in (1, 2, 3, 4):
        metrics.append(step, {"loss": step / 2})
    metrics = MetricsFile(path, step=2)
    metrics.append(3, {"loss": 9.0})
    assert path.read_text().split() == ["step,loss", "1,0.5", "2,1", "3,9"]


def test_a_half_written_row_goes(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss,rate\n1,0.5,3\n2,0.2")
    MetricsFile(path, step=5).append(3, {"loss": 1.0, "rate": 2.0})
    assert path.read_text().split() == ["step,loss,rate", "1,0.5,3", "3,1,2"]


def test_new_names_widen_the_table(tmp_path):
    path = tmp_path / "metrics.csv"
    metrics = MetricsFile(path)
    metrics.append(1, {"loss": 1.0})
    metrics.append(2, {"loss": 2.0, "nmi": 0.25})
    metrics.append(3, {"loss": 3.0})
    assert path.read_text().split() == ["step,loss,nmi", "1,1,", "2,2,0.25", "3,3,"]
