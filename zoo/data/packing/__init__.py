"""Files become records: plan, workers, grey values, resampling, shards."""
