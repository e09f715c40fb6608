"""What a place that a person names knows of its particles' poses."""

from __future__ import annotations


def run_of(place, data, poses):
    """DatasetInfo of a run, and what asks its model for poses where no results hold any; None, None where
    ``place`` is no run. Raises ZooError for a place that is nothing, or a run that is not finished."""
    from zoo.analysis.reconstruction.sources import RUN_POSES, kind_of_place

    if kind_of_place(place) != "run":
        return None, None
    from zoo.serving.places import check_model, open_data_of

    check_model(place)
    info = open_data_of(place, data)
    searched = poses is None and not (place / RUN_POSES).is_file()
    return info, _aligner(place, info) if searched else None


def _aligner(place, info):
    """What the model's align says of all records, asked for later; None where it has none."""
    from zoo.serving.open_model import open_model

    model = open_model(place)
    if "align" not in model.verbs:
        return None

    def aligned():
        from zoo.analysis.rows import rows_of

        return rows_of(model, "align", info, 16)

    return aligned
