"""Lightning's `Trainer.fit`."""

import logging
import time
import warnings

import lightning
import torch
from torch.nn import functional as F

from bench.peers import modules
from bench.peers.case import Case, Turn, examples, serve


class _Module(lightning.LightningModule):
    def __init__(self, case: Case) -> None:
        super().__init__()
        self.net = modules.network(case)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.net.parameters(), lr=1e-3)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        return self._logged("train", batch)

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        return self._logged("val", batch)

    def _logged(self, part: str, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        x, y = batch
        z = self.net(x)
        loss = F.cross_entropy(z, y)
        accuracy = (z.argmax(1) == y).float().mean()
        values = {f"{part}_loss": loss, f"{part}_accuracy": accuracy}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(y))
        return loss


class _Clock(lightning.Callback):
    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_epoch_end(self, trainer: object, module: object) -> None:
        self.ends.append(time.perf_counter())


def prepare(case: Case) -> Turn:
    torch.set_num_threads(case.threads)
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    train, held = examples(case)
    batches = modules.loader(train, case.batch, shuffle=True)
    checks = modules.loader(held, case.batch, shuffle=False) if held else None
    module = _Module(case)

    def turn(epochs: int) -> list[float]:
        clock = _Clock()
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            callbacks=[clock],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(module, batches, checks)
        return clock.ends

    return turn


if __name__ == "__main__":
    serve(f"Lightning {lightning.__version__}", prepare)
