"""The training loop: draws, noise, one prediction, one step.

It waits for the device only every `run.log_every` steps, to fetch metrics, and never for the disk: checkpoints are
written in a thread.

The state of a run is its weights, the tensors of the optimizer and the average, and one integer, the position.
All randomness is a function of (seed, position), so a killed run resumes bit-exactly.
"""

from __future__ import annotations

import contextlib
import copy
import math
import signal
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from histods.errors import HistodsError, TerminatedError
from histods.sampling.philox import philox4x64
from histods.sampling.streams import Stream
from training.data.source import chance_at
from training.diffusion.process import Loss
from training.model.compiling import begin_step, compile_blocks, uncompiled
from training.runs.checkpoint import State
from training.runs.checkpoint_writer import CheckpointWriter
from training.trainer.due import due_evaluations, scheduled_evaluations
from training.trainer.ema import Ema
from training.trainer.lr_schedule import beta1_at, rate_at
from training.trainer.optimizer import load_optimizer, make_optimizer, optimizer_tensors
from training.trainer.shutdown import SuppressSigchld, as_user_error, closing, stop_requests
from training.trainer.snapshots import Snapshots
from training.trainer.step_metrics import StepMetrics, finite_or_none

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from histods.records import Progress
    from training.data.dataset import Batch
    from training.data.latent_loader import LatentBatch
    from training.model.unet import UNet
    from training.runs.metrics import Metrics
    from training.trainer.preview import Preview
    from training.trainer.setup import RunSetup
    from training.trainer.validation import Validation


class Trainer:
    """One process's part of a run.

    Args:
        setup: settings, process, data and latent space.
        model: the network, on the device.
        autoencoder: name and digest, for checkpoints.
    """

    def __init__(self, setup: RunSetup, *, model: UNet, autoencoder: dict[str, str]) -> None:
        self.setup = setup
        self.config, self.process, self.source = config, process, source = (
            setup.config,
            setup.process,
            setup.source,
        )
        self.encoder, self.space, self.folder = setup.encoder, setup.space, setup.folder
        self._autoencoder = autoencoder
        self._kept = source.tensors()
        self.schedule = setup.schedule
        self._loss_of = Loss(setup.schedule, config.diffusion)
        self.step = 0
        self.skipped = 0
        if config.run.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self.model = model
        self.ema = Ema(config.ema, model)
        self.snapshots = Snapshots(config, model, setup.folder)
        self._optimizer = make_optimizer(config.optimizer, model)
        self._net = self._wrap(model)
        self._batches = source.batches(config.run.seed, config.data.batch_size // config.run.accumulate, process)
        self._position = 0  # after the last complete step; the loader may be further ahead
        self._intact = True  # whether weights, moments and average are consistent with `step`
        self._stage = "training"  # shown in the progress, with the newest loss
        self._tried = 0  # the step of the last checkpoint that was started
        self._step_metrics = StepMetrics(config.model.channels, process)
        self._writer = CheckpointWriter(setup.folder)

    def _wrap(self, model: UNet) -> Callable[..., Tensor]:
        """The network as called in a step: compiled and distributed, as configured."""
        if self.config.run.compile:
            compile_blocks(model, self.config.run.compile_mode)
        net: Any = model
        if self.process.world_size > 1:
            cuda = self.process.device.type == "cuda"
            net = DistributedDataParallel(
                net, device_ids=[self.process.device] if cuda else None, gradient_as_bucket_view=True
            )
            if self.config.run.compress_gradients and cuda:  # only NCCL supports it
                net.register_comm_hook(None, bf16_compress_hook)
        return net  # type: ignore[no-any-return]

    def restore(self, state: State, read: Callable[[str], dict[str, Tensor]]) -> None:
        """Resume from a checkpoint.

        Raises:
            HistodsError: the checkpoint is damaged or of another network, or the data have changed.
        """
        self._batches.load_state_dict({"position": state.position, "index_digest": state.index_digest})
        try:
            self.model.load_state_dict(read("model"))
            self.ema.load(read("ema"))
            self.snapshots.load(read)
            load_optimizer(self._optimizer, self.model, read("optimizer"))
        except (RuntimeError, KeyError) as error:
            reason = " ".join(str(error).split())[:300]
            raise HistodsError(
                f"The checkpoint in {self.folder} does not fit this network: {reason}; "
                "resume with the configuration with which the run began."
            ) from error
        self.step, self.skipped = state.step, state.skipped
        self._position, self._tried = state.position, state.step

    def state(self) -> State:
        """The current state of the run."""
        return State(
            step=self.step,
            position=self._position,
            index_digest=self.source.index_digest,
            classes=self.source.classes,
            map_digest=self.source.map_digest,
            autoencoder=self._autoencoder,
            latent_space=self.space.to_json(),
            skipped=self.skipped,
        )

    def save(self) -> None:
        """Start to write a checkpoint, in process 0 only; training continues at the same time."""
        if self.process.first:
            with self._step_metrics.spending("saving"):
                self._write()

    def finish_saving(self) -> None:
        """Wait until the last checkpoint is written, in all processes.

        Raises:
            HistodsError: it could not be written.
        """
        with self._step_metrics.spending("saving"):
            self._writer.wait()
            self.snapshots.wait()
            self.process.wait()

    def _write(self) -> None:
        self._tried = self.step
        parts = {
            "model": dict(self.model.state_dict()),
            "ema": self.ema.tensors,
            "optimizer": optimizer_tensors(self._optimizer, self.model),
            **self.snapshots.parts(),
            **self._kept,
        }
        self.snapshots.wait()  # a run resumed from this checkpoint has all snapshots of earlier steps
        self._writer.begin(self.state(), parts, config=self.config, keep=self.config.run.keep_checkpoints)

    def run(
        self,
        metrics: Metrics | None,
        validation: Validation | None,
        preview: Preview | None,
        progress: Progress,
    ) -> None:
        """Train to the last step.

        Args:
            metrics: where process 0 writes metrics; None in the others.
            validation: computes the validation loss; all processes share the work.
            preview: draws previews, called with the step and the averaged network; all processes share the work.
            progress: called with each step.

        Raises:
            TerminatedError: SIGTERM was received, and a checkpoint written; Ctrl-C raises KeyboardInterrupt
                likewise.
            HistodsError: too many steps in a row were not finite, data are damaged, or a disk is full.
        """
        run = self.config.run
        progress("training", self.step, run.steps)
        self._step_metrics.start()
        if self.process.first:
            self.snapshots.resume(self.state())
        with stop_requests() as asked, SuppressSigchld() as quiet, closing(self._batches) as batches:
            try:
                if self.step:  # a kill may have come right after the checkpoint
                    self._look(metrics, validation, preview)
                stop = False
                while self.step < run.steps and not stop:
                    self.train_step(batches)
                    quiet()
                    progress(self._stage, self.step, run.steps)
                    stop = self._after_step(asked, metrics, validation, preview)
            except Exception as error:
                self._rescue(metrics)
                if not asked:
                    raise as_user_error(error, self.folder) from error
                stop = True
            if stop:
                raise KeyboardInterrupt if signal.SIGINT in asked else TerminatedError

    def _after_step(
        self,
        asked: list[int],
        metrics: Metrics | None,
        validation: Validation | None,
        preview: Preview | None,
    ) -> bool:
        """Write what is due after a step, and return whether to stop."""
        run = self.config.run
        last = self.step == run.steps
        saved = last or self.step % run.checkpoint_every == 0
        # With each checkpoint too: a run resumed from it would lack the lines before it.
        logged = saved or self.step % run.log_every == 0
        stop = self.process.agree(bool(asked))
        if logged or stop:
            self._log(metrics)
        self._writer.check()
        if saved or stop:
            self.save()
        if self.process.first and self.snapshots.due(self.step):
            with self._step_metrics.spending("saving"):
                self.snapshots.write(self.state())
        if last or stop:
            self.finish_saving()
        if not stop:
            self._look(metrics, validation, preview)
        return stop

    def _look(
        self,
        metrics: Metrics | None,
        validation: Validation | None,
        preview: Preview | None,
    ) -> None:
        """Validate and draw a preview if due and not done yet; all processes share the work."""
        run, last = self.config.run, self.step == self.config.run.steps
        if not scheduled_evaluations(run, self.step, last=last):
            return
        # Process 0 knows what has been written.
        first = self.process.first
        due = self.process.tell(due_evaluations(self.folder, run, self.step, last=last) if first else None)
        if "validation" in due and validation:
            with self._step_metrics.spending("validating"), self._as_it_is():
                self._validate(validation, metrics)
        if "preview" in due and preview:
            with self._step_metrics.spending("previewing"), self._as_it_is():
                picture = preview(self.step, self.averaged())
                if metrics is not None and picture is not None:
                    metrics.show(picture, self.step)

    def _as_it_is(self) -> contextlib.AbstractContextManager[None]:
        """Run networks uncompiled in it; only a compiled run imports PyTorch's compiler, which takes seconds."""
        return uncompiled() if self.config.run.compile else contextlib.nullcontext()

    def _rescue(self, metrics: Metrics | None) -> None:
        """After an error, save the steps since the last checkpoint, without waiting for other processes."""
        with contextlib.suppress(Exception):  # the first error counts
            self._writer.wait()
        if not self._intact or self._tried == self.step or not self.process.first:
            return
        with contextlib.suppress(Exception):
            if self.process.world_size == 1 and self._step_metrics.steps:
                self._log(metrics)
        with contextlib.suppress(Exception):
            self._write()
            self._writer.wait()

    def train_step(self, batches: Iterator[Batch | LatentBatch]) -> None:
        """One optimizer step over `data.batch_size` samples of all processes."""
        run, optimizer = self.config.run, self._optimizer
        for group in optimizer.param_groups:
            group["lr"] = rate_at(self.step, run.steps, self.config.optimizer.lr, self.config.optimizer)
            beta1 = beta1_at(self.step, run.steps, self.config.optimizer)
            group["betas"] = (beta1, self.config.optimizer.betas[1])
        losses = []
        for turn in range(run.accumulate):
            if run.compile:
                begin_step()
            with self._step_metrics.spending("waiting"):
                batch = next(batches)
            last = turn == run.accumulate - 1
            joined = isinstance(self._net, DistributedDataParallel) and not last
            with self._net.no_sync() if joined else contextlib.nullcontext():  # type: ignore[attr-defined]
                loss = self._loss(batch) / run.accumulate
                loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        norm = clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip_norm)
        finite = torch.isfinite(norm)
        # A fused optimizer leaves weights and moments unchanged if this is 1, without device synchronisation.
        optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        self._intact = False
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.ema.update(self.model, self.step)
        self.snapshots.update(self.model, self.step)
        self._position += self.config.data.batch_size
        self._intact = True
        self._step_metrics.step(torch.stack(losses).sum(), norm.detach(), finite)

    def _loss(self, batch: Batch | LatentBatch) -> Tensor:
        """Mean loss of one batch."""
        diffusion, device = self.config.diffusion, self.process.device
        chance = chance_at(
            self.config.run.seed,
            batch.positions_B,
            diffusion.timesteps,
            diffusion.null_probability,
            diffusion.levels,
        )
        with torch.no_grad():
            z_BCHW, noise_BCHW = self.encoder.draw(batch, chance.seeds_B)
            x0_BCHW = self.space.normalise(z_BCHW)
        times_B = chance.times_B.to(device, non_blocking=True)
        dropped_B = chance.dropped_B.to(device, non_blocking=True)
        condition_BCHW = self.encoder.condition(batch).to(device, non_blocking=True)
        noisy_BCHW = self.schedule.add_noise(x0_BCHW, noise_BCHW, times_B)
        if self.config.run.channels_last:
            noisy_BCHW = noisy_BCHW.contiguous(memory_format=torch.channels_last)
        self._step_metrics.see(x0_BCHW)
        # Dropout draws from the device's own generator, which is seeded by position too, so it needs no saved
        # state.
        torch.manual_seed(
            int(philox4x64(self.config.run.seed, batch.positions_B[:1].numpy(), Stream.DROPOUT)[0, 0] >> 1)
        )
        with torch.autocast(device.type, torch.bfloat16, enabled=self.setup.half):
            output_BCHW = self._net(noisy_BCHW, times_B, condition_BCHW, dropped_B)
        return self._loss_of(output_BCHW, x0_BCHW, noise_BCHW, times_B).mean()

    def _log(self, metrics: Metrics | None) -> None:
        """Fetch and write the metrics of the steps since the last call, and stop if too many were skipped."""
        run, config, read = self.config.run, self.config, self._step_metrics.read()
        first = self.step - len(read.losses)
        self.skipped += sum(read.skipped)
        rates = [
            rate_at(first + place, run.steps, config.optimizer.lr, config.optimizer)
            for place in range(len(read.losses))
        ]
        finite = [loss for loss in read.losses if math.isfinite(loss)]
        if finite:
            self._stage = f"training, loss {sum(finite) / len(finite):.3f}"
        lines = read.lines(first, rates, self.skipped, config.data.batch_size)
        if metrics is not None:
            metrics.write(lines)
        if read.in_a_row >= run.max_skipped:
            self.save()
            self.finish_saving()
            behind = min(place for place, skip in enumerate(reversed(read.skipped)) if skip)
            bad = self.step - behind
            raise HistodsError(
                f"The gradients were not finite in {read.in_a_row} steps in a row, the last of them {bad} "
                f"({self._culprits(behind)}); the weights from before are in "
                f"{self.folder}/checkpoints/step-{self.step:08d}: lower optimizer.lr, or inspect these samples."
            )

    def _culprits(self, behind: int) -> str:
        """The keys of some samples of the step `behind` steps before the last one.

        They are found by position, since the batch size may have changed during the run.
        """
        size = self.config.data.batch_size
        start = self._position - (behind + 1) * size
        keys = self.source.keys_at(range(start, start + min(size, 3)))
        return f"samples {', '.join(keys)}" + (", ..." if size > len(keys) else "")

    def _validate(self, validation: Validation, metrics: Metrics | None) -> None:
        raw, averaged = validation(self.model), validation(self.averaged())
        if metrics is None:
            return
        line = {
            "kind": "validation",
            "step": self.step,
            "split": validation.split,
            "model": finite_or_none(raw.mean),
            "ema": finite_or_none(averaged.mean),
            "model_buckets": [finite_or_none(loss) for loss in raw.buckets],
            "ema_buckets": [finite_or_none(loss) for loss in averaged.buckets],
        }
        metrics.write([line])

    def averaged(self) -> UNet:
        """An uncompiled copy of the network with the averaged weights, in eval mode."""
        averaged = copy.deepcopy(self.model)
        self.ema.copy_to(averaged)
        return averaged.eval()
