"""Pure tensor functions in ``keras.ops``: float32, batched, the same on every Keras backend."""
