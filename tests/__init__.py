"""Tests of pvae. Folders mirror the package; `*_cases.py` hold the variants of every part."""
