"""The endless stream of records that training sees, as a function of (seed, position in the stream).

The stream is epoch after epoch; an epoch is a shuffle of all shards, cut into groups of up to 16; the
records of a group are read round-robin from its shards and shuffled within windows whose first one
is of random length, so that windows hold other neighbours in every epoch. Because a group starts at
a known position of the stream, reading can begin anywhere after skipping less than one group.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

GROUP = 16
"""Shards read at the same time."""
CHUNK = 16
"""Records taken from one shard before the next one's turn."""

# Philox takes (seed, purpose + counter) as its key: every draw of a stream has a key of its own.
_SHARD_ORDER, _FIRST_WINDOW, _WINDOW_ORDER, _CTF_DRAW = (purpose << 60 for purpose in range(1, 5))


class StreamOrder:
    """Order of an endless, reshuffled stream over ``shard_counts`` records per shard.

    ``window`` is the number of records shuffled at a time. With ``shuffle=False`` the shards and
    records keep their order in every epoch. The methods work on tensors, eagerly and in graphs.
    """

    def __init__(self, shard_counts, seed: int, window: int, shuffle: bool = True):
        self.counts = np.asarray(shard_counts, dtype=np.int64)
        self.total = int(self.counts.sum())
        self.seed = int(seed) % (1 << 63)
        self.window = int(window)
        self.shuffle = shuffle
        self.groups_per_epoch = -(-len(self.counts) // GROUP)

    def shards(self, number) -> tf.Tensor:
        """Shards (at most 16) of group ``number`` of the stream, int64."""
        epoch, group = number // self.groups_per_epoch, number % self.groups_per_epoch
        order = tf.range(len(self.counts), dtype=tf.int64)
        if self.shuffle:
            order = tf.argsort(self._bits(order.shape, _SHARD_ORDER + epoch), stable=True)
        return tf.cast(order[group * GROUP : (group + 1) * GROUP], tf.int64)

    def window_sizes(self, number) -> tf.Tensor:
        """Lengths of the windows of group ``number``, int64; together at least the records of the group."""
        first = tf.constant([self.window], tf.int64)
        if self.shuffle:
            first = 1 + tf.random.stateless_uniform(
                [1], self._key(_FIRST_WINDOW + number), 0, self.window, tf.int64, alg="philox"
            )
        full = self.length(number) // self.window + 1
        return tf.concat([first, tf.fill([full], tf.constant(self.window, tf.int64))], axis=0)

    def length(self, number) -> tf.Tensor:
        """Records in group ``number``."""
        return tf.reduce_sum(tf.gather(self.counts, self.shards(number)))

    def shuffle_window(self, records: tf.Tensor, number, window) -> tf.Tensor:
        """The records of one window of a group in their final order."""
        if not self.shuffle:
            return records
        bits = self._bits(tf.shape(records), _WINDOW_ORDER + number * (1 << 20) + window)
        return tf.gather(records, tf.argsort(bits, stable=True))

    def draw_rows(self, step, size: int) -> tf.Tensor:
        """``size`` rows of the table drawn with equal chance for a step, int64."""
        return tf.random.stateless_uniform(
            [size], self._key(_CTF_DRAW + step), 0, self.total, tf.int64, alg="philox"
        )

    def locate(self, position: int) -> tuple[int, int]:
        """(group number, records to skip in it) of the record at ``position`` of the stream."""
        epoch, rest = divmod(int(position), self.total)
        number = epoch * self.groups_per_epoch
        with tf.device("CPU"):
            while rest >= (length := int(self.length(number))):
                rest -= length
                number += 1
        return number, rest

    def _bits(self, shape, counter) -> tf.Tensor:
        return tf.random.stateless_uniform(shape, self._key(counter), None, None, tf.int64, alg="philox")

    def _key(self, counter) -> tf.Tensor:
        return tf.stack([tf.constant(self.seed, tf.int64), tf.cast(counter, tf.int64)])
