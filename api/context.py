"""What endpoints are given: whose things they see or change, and the service's parts."""

import threading
from typing import Annotated

from fastapi import Depends, Path, Request, Security
from pydantic.json_schema import SkipJsonSchema

from api import access, predicting, turns
from jobs import artifacts, db, ids, intake, keys, settings

Absent = SkipJsonSchema[None]
"""A parameter may be left out, but `null` is not a value of it."""


async def _owner(found: Annotated[keys.Caller, Depends(access.caller)]) -> str:
    return found.owner


async def _database(request: Request) -> db.Database:
    found: db.Database = request.app.state.database
    return found


async def _artifacts(request: Request) -> artifacts.Artifacts:
    found: artifacts.Artifacts = request.app.state.artifacts
    return found


async def _intake(request: Request) -> intake.Intake:
    found: intake.Intake = request.app.state.intake
    return found


async def _settings(request: Request) -> settings.Settings:
    found: settings.Settings = request.app.state.settings
    return found


async def _stopping(request: Request) -> threading.Event:
    found: threading.Event = request.app.state.stopping
    return found


async def _models(request: Request) -> predicting.Models:
    found: predicting.Models = request.app.state.models
    return found


async def _turns(request: Request) -> turns.Turns:
    found: turns.Turns = request.app.state.turns
    return found


async def _rounds(request: Request) -> turns.Rounds:
    found: turns.Rounds = request.app.state.rounds
    return found


async def _traceparent(request: Request) -> str:
    found: str = request.state.traceparent
    return found


Caller = Annotated[keys.Caller, Security(access.caller, scopes=["read"])]
"""Who looks, where it matters by which key,"""
Owner = Annotated[str, Security(_owner, scopes=["read"])]
"""whose things a request may look at,"""
Submitter = Annotated[str, Security(_owner, scopes=["submit"])]
"""whose it may change,"""
Operator = Annotated[str, Security(_owner, scopes=["admin"])]
"""and who runs the service."""
Database = Annotated[db.Database, Depends(_database)]
Artifacts = Annotated[artifacts.Artifacts, Depends(_artifacts)]
Intake = Annotated[intake.Intake, Depends(_intake)]
Models = Annotated[predicting.Models, Depends(_models)]
Settings = Annotated[settings.Settings, Depends(_settings)]
Stopping = Annotated[threading.Event, Depends(_stopping)]
"""Set when the server is about to stop: streams end then."""
Turns = Annotated[turns.Turns, Depends(_turns)]
Rounds = Annotated[turns.Rounds, Depends(_rounds)]
"""For answers that may be large, which nobody else can work beside (Python has one lock)."""
Traceparent = Annotated[str, Depends(_traceparent)]

JobId = Annotated[str, Path(pattern=rf"^job_{ids.PATTERN}$")]
DatasetId = Annotated[str, Path(pattern=rf"^ds_{ids.PATTERN}$")]
WebhookId = Annotated[str, Path(pattern=rf"^wh_{ids.PATTERN}$")]
DeliveryId = Annotated[str, Path(pattern=rf"^msg_{ids.PATTERN}$")]
CheckpointId = Annotated[str, Path(pattern=rf"^ckpt_{ids.PATTERN}$")]
ArtifactName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
