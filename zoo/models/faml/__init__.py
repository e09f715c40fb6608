"""`faml` and `fa`: subtomogram averaging and classification."""
