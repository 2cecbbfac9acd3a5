"""The tutorial notebooks, and the source of the documentation site."""
