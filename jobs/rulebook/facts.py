"""What the later rules need to know of the data, once the earlier ones have read the profile."""

from dataclasses import dataclass

from jobs.spec.data import Split, Task
from jobs.spec.profile import ColumnProfile
from jobs.spec.shapes import Shape


@dataclass(frozen=True)
class Facts:
    """The data as the network will meet it; counts are those of the profile."""

    task: Task
    targets: list[ColumnProfile]
    features: list[ColumnProfile]
    """Empty for images."""
    shape: Shape
    """Of one row's input."""
    split: Split
    train_rows: int
    validation_rows: int
    test_rows: int
    table_parameters: int = 0
    """Learned numbers of the embeddings of categories."""

    @property
    def classes(self) -> int:
        """Distinct labels; 0 for regression."""
        return self.targets[0].distinct if self.task == "classification" else 0

    @property
    def outputs(self) -> int:
        """Width of the network's output, before a binary loss narrows it to 1."""
        return self.classes or len(self.targets)

    @property
    def is_images(self) -> bool:
        """Whether a row is an image."""
        return len(self.shape) == 3
