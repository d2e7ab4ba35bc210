"""Several GPUs or machines share a training."""

from __future__ import annotations

import json
import math
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from data.batches import PART
from data.system.files import InputError, one_line

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Worker:
    """This process's part in a training that several processes or GPUs may share."""

    number: int = 0  # worker 0 writes and prints
    count: int = 1
    strategy: Any = None  # tf.distribute.Strategy; None: one process and one device train

    def scope(self) -> AbstractContextManager[Any]:
        """Where models and optimizers must be made to be shared."""
        return self.strategy.scope() if self.strategy else nullcontext()


def find_worker() -> Worker:
    """The Worker that TF_CONFIG describes, without a strategy; a single one where it is not set.

    It is read as TensorFlow reads it: {"cluster": {"worker": ["host:port", ...]}, "task":
    {"type": "worker", "index": 0}}, perhaps with one "chief", who then comes first. Raises
    InputError if it is something else.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return Worker()
    try:
        config = json.loads(text)
        cluster, kind = config["cluster"], config["task"]["type"]
        index = config["task"]["index"]
        addresses = [*cluster.get("chief", []), *cluster.get("worker", [])]
        if not set(cluster) <= {"chief", "worker"} or not all(":" in each for each in addresses):
            raise ValueError('"cluster" must list the workers as "host:port"')
        if len(set(addresses)) < len(addresses):
            raise ValueError("it names an address twice")
        if not 0 <= index < len(cluster[kind]):
            raise ValueError(f"there is no {kind} {index}, they count from 0")
        first = len(cluster.get("chief", [])) if kind == "worker" else 0
        return Worker(first + index, len(addresses))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else one_line(error)
        raise InputError(
            f"the environment variable TF_CONFIG cannot be used ({reason}): {text!r:.300}."
            " models/README.md (Several GPUs or machines) shows how it should look; unset it to"
            " train alone."
        ) from None


def join_workers(worker: Worker) -> Worker:
    """The Worker with the strategy of all workers in TF_CONFIG; waits until they are connected.

    Raises InputError if they cannot connect.
    """
    import tensorflow as tf

    try:
        return replace(worker, strategy=tf.distribute.MultiWorkerMirroredStrategy())
    except (tf.errors.OpError, RuntimeError) as error:
        raise InputError(
            f"the workers in TF_CONFIG cannot connect ({one_line(error):.300}); check that every"
            " address can be reached and its port is free, and start all of them again."
        ) from None


def share_among_gpus(batch_size: int) -> Any:
    """tf.distribute.Strategy of as many of this machine's GPUs as divide the batch; or None."""
    import tensorflow as tf

    gpus = range(1, len(tf.config.list_logical_devices("GPU")) + 1)
    count = max((number for number in gpus if batch_size % number == 0), default=0)
    if count < 2:
        return None
    return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(count)])


def check_batch_size(batch_size: int, faces: int, worker: Worker) -> None:
    """Raise InputError if batches cannot be shared among the workers and their replicas."""
    replicas = worker.strategy.num_replicas_in_sync if worker.strategy else 1
    unit = math.lcm(PART * worker.count, replicas) if worker.count > 1 else replicas
    if batch_size % unit:
        raise InputError(
            f"--batch-size {batch_size} cannot be shared among {worker.count} workers with"
            f" {replicas} devices in all; give a multiple of {unit}."
        )
    if replicas > 1 and faces < batch_size:
        raise InputError(
            f"{faces} faces to train on are too few for a batch of {batch_size}, which"
            f" {replicas} devices share; give more faces, or train on one device."
        )


def replicated(model: keras.Model, strategy: Any) -> keras.Model:
    """A keras.Model with the given model's layers, whose training step is shared by replicas.

    Keras's `fit` cannot train with tf.distribute.MultiWorkerMirroredStrategy (as of 3.15,
    https://github.com/keras-team/keras/issues/20585); with MirroredStrategy it can, but clips each
    replica's gradient separately. Here the replicas of this process share the batch that the
    process draws; gradients and batch-normalisation statistics are summed over all replicas of all
    processes.

    Args:
        model: keras.Model made in the strategy's scope.
        strategy: tf.distribute.Strategy.
    """
    import keras
    import tensorflow as tf

    here = len(strategy.extended.worker_devices)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True

    class Replicated(keras.Model):
        def train_step(self, data: Any) -> dict[str, Any]:
            def on_replica() -> Any:
                replica = tf.distribute.get_replica_context()
                number = replica.replica_id_in_sync_group % here

                def share(tensor: Any) -> Any:
                    size = tf.shape(tensor)[0] // here
                    return tensor[number * size : (number + 1) * size]

                x, y, weights = tf.nest.map_structure(share, data)
                with tf.GradientTape() as tape:  # the loss is this replica's part of the sum
                    loss = self.compute_loss(x, y, self(x, training=True), weights)
                gradients = tape.gradient(loss, self.trainable_variables)
                self.optimizer.apply(gradients, self.trainable_variables)  # sums them
                return replica.all_reduce(tf.distribute.ReduceOp.SUM, loss)

            loss = strategy.experimental_local_results(strategy.run(on_replica))[0]
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
            return {metric.name: metric.result() for metric in self.metrics}

    return Replicated(model.inputs, model.output)
