"""The page of a run or a study, and a model card: everything from files that are there, no model and no images."""
