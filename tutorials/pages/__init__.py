"""The pages of the site that are made from the code: each module returns their sources by name."""
