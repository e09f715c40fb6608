"""From density maps or atomic models to particle stacks whose every parameter is known."""
