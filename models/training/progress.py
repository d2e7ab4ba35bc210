"""After each epoch of a training: the held-out error, a line, the log and the checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.faces import Faces
from data.key_points import rmse
from data.system.files import replace_file
from models.storage import Checkpoint

if TYPE_CHECKING:
    import keras


def epoch_callback(
    model: keras.Model,
    validation: Faces,
    epochs: int,
    per_epoch: int,
    history: list[dict[str, Any]],
    checkpoint: Checkpoint | None,
    log_path: Path | None,
) -> keras.callbacks.Callback:
    """A callback that after each epoch appends to `history`, saves, and prints a line."""
    import keras

    started = time.monotonic() - (history[-1]["seconds"] if history else 0)

    class Progress(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            output = averaged_key_points(model, validation)
            seconds = time.monotonic() - started
            rate = model.optimizer._learning_rate((epoch + 1) * per_epoch)
            line = {
                "epoch": epoch + 1,
                "loss": float((logs or {})["loss"]),
                "validation_rmse_px": rmse(output, validation.key_points),
                "learning_rate": float(rate),
                "seconds": round(seconds, 1),
            }
            if checkpoint:
                checkpoint.save(model, [*history, line])
            history.append(line)
            left = seconds / (epoch + 1) * (epochs - epoch - 1)
            print(
                f"epoch {epoch + 1:3}/{epochs}  loss {line['loss']:8.3f}"
                f"  held-out RMSE {line['validation_rmse_px']:6.3f} px"
                f"  {left // 60:3.0f} min {left % 60:02.0f} s left",
                flush=True,
            )
            if log_path:
                write_log(log_path, history)
                if len(history) == 1:  # the plot there is of an earlier training
                    log_path.with_name("training_process.png").unlink(missing_ok=True)

    return Progress()


def step_callback(advance: Callable[[int], None]) -> keras.callbacks.Callback:
    """A callback that calls `advance`, as `progress_bar` yields it, after every step."""
    import keras

    return keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs=None: advance(1))


def averaged_key_points(model: keras.Model, validation: Faces) -> np.ndarray:
    """Predict (N, K, 2) with the averaged weights, which will be saved; the model is unchanged.

    (Keras's SwapEMAWeights does not swap back after `predict`, as of Keras 3.15.)
    """
    own = [variable.numpy() for variable in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    output = model_output(model, model_inputs(validation))
    for variable, value in zip(model.trainable_variables, own, strict=True):
        variable.assign(value)
    return output["key_points"].reshape(validation.key_points.shape)


def model_output(model: keras.Model, inputs: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
    """What a model predicts while it is being trained: key_points (N, 2K) and spread (N, K)."""
    import keras

    if keras.backend.backend() == "tensorflow":
        return model.predict(inputs, batch_size=256, verbose=0)
    # With JAX, `predict` in the middle of `fit` frees the weights' memory.
    parts = []
    for start in range(0, len(inputs[0]), 256):
        found = model([part[start : start + 256] for part in inputs], training=False)
        parts.append({name: keras.ops.convert_to_numpy(found[name]) for name in found})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def model_inputs(faces: Faces) -> tuple[np.ndarray, np.ndarray]:
    """The inputs of the model that is trained: pictures (N, 96, 96, 1) and sources (N, 1)."""
    return faces.pictures[..., None].astype(np.float32), faces.source[:, None]


def write_log(path: Path, history: list[dict[str, Any]]) -> None:
    """Write the epochs' lines as CSV."""
    import pandas as pd

    replace_file(
        path, lambda file: pd.DataFrame(history).to_csv(file, index=False, encoding="utf-8")
    )
