import dataclasses

import numpy as np
import pytest

from zoo.models.abinitio3d.abinitio import AbInitio
from zoo.models.abinitio3d.observed import Candidates, Observed
from zoo.models.abinitio3d.splitting import spare_classes, split, worth_splitting
from zoo.models.abinitio3d.state import Phase, initial_state

APART = 50.0  # log likelihood that an image loses under another map


def classes(small, members, share, cross=None, log_likelihood=200.0):
    """A run with classes of so many images, whose maps explain as much; map k is k + 1 everywhere."""
    count = len(members)
    config = dataclasses.replace(small.config, classes=count, count=sum(members))
    state = initial_state(config)
    state["members"], state["share"] = np.array(members, np.float32), np.array(share, np.float32)
    state["table_class"][:, 0] = np.repeat(np.arange(count), members)
    state["table_log_likelihood"][:] = log_likelihood
    state["cross"] = np.full((count, count), APART) * (1 - np.eye(count)) if cross is None else cross
    state["small_maps"] = np.arange(1, count + 1)[:, None, None, None] * np.ones_like(state["small_maps"])
    return config, state


def test_a_class_of_few_images_takes_half_of_those_of_the_worst(small):
    config, state = classes(small, [300, 3, 250, 247], [0.999, 0.9, 0.96, 0.97])
    spare = spare_classes(state, config)
    assert spare.tolist() == [False, True, False, False] and worth_splitting(state, config, spare)
    assert split(state, config, spare) == ["class 2 takes half of the images of class 3"]
    np.testing.assert_array_equal(state["twin"], [0, 3, 0, 0])
    assert (state["small_maps"][1] == 3).all() and (state["small_maps"][3] == 4).all()
    run = AbInitio(config, state)
    run._enter(Phase.JOINT)
    image = np.repeat(np.arange(50), 4)
    drawn = Candidates(image, np.tile([0, 1, 2, 3], 50), np.zeros((200, 2, 3)), np.zeros((200, 2)))
    seen = Observed(None, None, None, None, np.arange(50))
    group = run.expectation._parted(state, seen, drawn).reshape(50, 4)
    # what goes to the pair goes to one of them, image by image; the others keep theirs
    assert (group[:, 0] == 0).all() and (group[:, 3] == 3).all() and (group[:, 1] == group[:, 2]).all()
    assert 10 < (group[:, 1] == 1).sum() < 40 and set(group[:, 1]) == {1, 2}
    state["update"] = np.int32(1)
    np.testing.assert_array_equal(run.expectation._parted(state, seen, drawn), drawn.group)


def test_one_of_two_that_are_the_same_parts_a_class_that_explains_little(small):
    """Of three states, one is there twice, and two share a class: no class is empty, and none gets better."""
    cross = np.full((3, 3), APART) * (1 - np.eye(3))
    cross[0, 1] = cross[1, 0] = 1.3  # of 200
    config, state = classes(small, [1517, 1488, 5995], [1.0, 1.0, 0.895], cross)
    spare = spare_classes(state, config)
    assert spare.tolist() == [False, True, False] and worth_splitting(state, config, spare)
    assert split(state, config, spare) == ["class 2 takes half of the images of class 3"]
    # where different maps are never one, none can be spared
    assert not spare_classes(state, dataclasses.replace(config, same_class=0.0)).any()


def test_a_class_that_ran_empty_parts_the_largest_once_though_all_others_count_as_whole(small):
    config, state = classes(small, [3000, 0, 6000], [1.0, 0.0, 0.998])
    spare = spare_classes(state, config)
    assert spare.tolist() == [False, True, False] and worth_splitting(state, config, spare)
    assert split(state, config, spare) == ["class 2 takes half of the images of class 3"]
    state["split"] = np.int32(1)
    assert not worth_splitting(state, config, spare)  # it ran empty again: there is nothing to part
    state["share"][2] = 0.9
    assert worth_splitting(state, config, spare)


def test_few_images_that_only_their_own_map_explains_are_given_up(small):
    """Two of six classes with a hundredth of the images: the largest are parted, those maps are gone."""
    config, state = classes(small, [1250, 2990, 90, 60, 1680, 2930], [1.0, 0.999, 0.94, 0.9, 1.0, 0.995])
    spare = spare_classes(state, config)
    assert np.flatnonzero(spare).tolist() == [2, 3]
    assert split(state, config, spare) == [
        "class 3 takes half of the images of class 2",
        "class 4 takes half of the images of class 6",
    ]
    assert (state["small_maps"][2] == 2).all() and (state["small_maps"][3] == 6).all()
    state["split"] = np.int32(1)
    assert worth_splitting(state, config, spare)  # while they are there


def test_classes_beyond_those_that_can_be_parted_lose_their_maps(small):
    config, state = classes(small, [900, 0, 0, 0], [1.0, 0.0, 0.0, 0.0])
    split(state, config, spare_classes(state, config))
    np.testing.assert_array_equal(state["twin"], [0, 1, 0, 0])
    assert (state["small_maps"][2:] == 0).all() and (state["small_maps"][:2] == 1).all()


@pytest.mark.parametrize("share", [[0.999, 0.995], [0.999, 0.9]])
def test_classes_that_are_needed_are_not_split(small, share):
    config, state = classes(small, [400, 400], share)
    spare = spare_classes(state, config)
    assert not spare.any() and not worth_splitting(state, config, spare)


def test_maps_that_explain_all_are_left_alone_where_only_poor_ones_are_asked_for(small):
    config, state = classes(small, [400, 3, 397], [0.999, 0.0, 0.995])
    assert split(state, config, spare_classes(state, config), only_poor=True) == []
    assert not state["twin"].any() and (state["small_maps"][1] == 2).all()
