"""Data: tables of features and targets, how they are split, and where they come from."""

from optimlab.data.dataset import DataError, Dataset, Split

__all__ = ["DataError", "Dataset", "Split"]
