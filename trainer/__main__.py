"""`python -m trainer spec.json [dataset-id=file …]`: one run with no service, printed as it goes."""

import argparse
import sys
import tempfile
from pathlib import Path

from pydantic import ValidationError

from jobs import profiles, rules
from jobs.errors import DataInvalid, SpecInvalid
from jobs.spec.data import Builtin, Dataset, GivenSplit, Rows, Upload
from jobs.spec.explained import Background
from jobs.spec.job import JobSpec
from jobs.spec.profile import DatasetProfile
from trainer.reports import Finished, Progress, Saved
from trainer.run import run
from trainer.sources import profiling, reading


def main() -> int:
    """0 if the run ended well, 1 if it failed, 2 if the spec cannot be run."""
    parser = argparse.ArgumentParser(prog="python -m trainer", description=__doc__)
    parser.add_argument("spec", type=Path, help="a spec as posted to /v1/jobs")
    parser.add_argument("files", nargs="*", help="ds_…=path for each uploaded dataset that the spec names")
    parser.add_argument("--out", type=Path, help="folder for the results; a temporary one without it")
    options = parser.parse_args()
    files = {id: Path(path) for id, _, path in (pair.partition("=") for pair in options.files)}
    folder = options.out or Path(tempfile.mkdtemp(prefix="fitd-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        spec = JobSpec.model_validate_json(options.spec.read_text())
        resolved = rules.resolve(spec, *_profiles(spec, files))
    except SpecInvalid as error:
        print(*(f"{fault.pointer}: {fault.detail}" for fault in error.faults), sep="\n", file=sys.stderr)
        return 2
    except (ValidationError, DataInvalid, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for decision in resolved.decisions:
        print(f"{decision.path}: {decision.requested} → {decision.value} ({decision.rule}: {decision.why})")
    try:
        known = Background(decisions=resolved.decisions, warnings=resolved.notices, dataset_hash=resolved.dataset_hash)
        return _train(resolved.spec, files, folder, known)
    except DataInvalid as error:
        print(error, file=sys.stderr)
        return 1


def _profiles(spec: JobSpec, files: dict[str, Path]) -> tuple[DatasetProfile, DatasetProfile | None]:
    test = _profile(spec.split.test, files) if isinstance(spec.split, GivenSplit) else None
    return _profile(spec.dataset, files), test


def _profile(dataset: Dataset, files: dict[str, Path]) -> DatasetProfile:
    match dataset:
        case Builtin():
            return profiles.builtin()[dataset.name]
        case Rows():
            return profiles.of_rows(dataset.rows)
        case Upload():
            if dataset.id not in files:
                raise DataInvalid(f"Say where {dataset.id} lies: {dataset.id}=path")
            return profiling.profile(reading.read(files[dataset.id]))


def _train(spec: JobSpec, files: dict[str, Path], folder: Path, background: Background) -> int:
    failed = False
    for news in run(spec, files, folder, None, lambda: False, background):
        match news:
            case Progress() if news.epoch_ended:
                metrics = "  ".join(f"{name} {value:.5g}" for name, value in news.latest.items() if value is not None)
                print(f"epoch {news.epoch}/{news.epochs}  {metrics}{'  *' if news.improved else ''}")
            case Saved() if news.what == "result":
                print(folder / news.name)
            case Finished():
                failed = news.stop_reason == "non_finite"
                numbers = {name: value for name, value in (news.test or {}).items() if isinstance(value, int | float)}
                print(news.message, numbers)
            case _:
                continue
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
