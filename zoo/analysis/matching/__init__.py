"""Is it really there? Templates matched to subtomograms, and how often chance would do as well."""
