"""The same service as it runs in production: PostgreSQL and S3 by URL."""

from pathlib import Path

import obstore
import sqlalchemy as sa
from obstore.store import from_url

from tests.fleet import Fleet, digits
from tests.servers import made


def test_a_job_runs_on_postgresql_and_s3(postgres: sa.Engine, bucket: str, tmp_path: Path) -> None:
    store = f"s3://{bucket.rpartition('/')[2]}/fitd"
    with made(postgres) as url:
        service = Fleet(tmp_path, FITD_DATABASE_URL=url, FITD_ARTIFACTS_URL=store)
        try:
            client = service.client
            dataset = client.upload(
                b"x,y\n" + b"".join(b"%d,%d\n" % (n % 9, n % 9 * 3) for n in range(200)), name="t.csv"
            )
            spec = {"dataset": {"source": "upload", "id": dataset.id}, "target": "y", "task": "regression", "epochs": 3}
            job = client.wait(client.submit(spec).id, timeout=90)
            assert job.status == "succeeded", job.error
            model = client.download(job.id, "model.safetensors", tmp_path)
            keys = {item["path"] for item in obstore.list(from_url(store)).collect()}
            assert any(key.startswith("datasets/") and key.endswith(dataset.sha256) for key in keys)
            assert any(key.endswith("model.safetensors") for key in keys)
            assert model.stat().st_size > 0
            again = client.wait(client.submit(digits(epochs=2)).id, timeout=90)
            assert again.status == "succeeded"
        finally:
            service.close()
