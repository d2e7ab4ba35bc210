"""A plain CNN, as most projects on this data set use, trained on the same split, to compare with.

    python tests/benchmarks/plain_cnn.py --data data/training.csv [--epochs 200]

Convolutions of 32, 64 and 32 channels with pooling, dense layers of 64, 128 and 64, Adam at its
default rate, batches of 32 as is Keras's default, no augmentation, pixels divided by 255. It learns
coordinates relative to the centre, divided by 48: in plain pixels it long predicts the mean face.
Prints the held-out RMSE as model_builder.py does and saves a model from grey values to pixels.
"""

import sys
import time
from pathlib import Path

import common
import numpy as np

from data.faces import join_faces, load_training
from data.key_points import COLUMNS, SIZE, mirror_key_points, rmse
from data.settings import Settings
from data.split import split_faces
from data.system.command_line import run_script
from data.system.files import HERE, replace_file
from models.training.loss import masked_loss


def build_plain_cnn():
    """The plain CNN, raw grey values (N, 96, 96, 1) to pixel coordinates (N, 30)."""
    import keras
    from keras import layers

    model = keras.Sequential([keras.Input((SIZE, SIZE, 1)), layers.Rescaling(1 / 255)])
    for channels in (32, 64, 32):
        model.add(layers.Conv2D(channels, 3, activation="relu"))
        model.add(layers.MaxPooling2D())
    model.add(layers.Flatten())
    for units in (64, 128, 64):
        model.add(layers.Dense(units, activation="relu"))
    model.add(layers.Dense(len(COLUMNS)))
    model.add(layers.Rescaling(SIZE / 2, offset=(SIZE - 1) / 2, name="key_points"))
    return model


def load(path):
    """A plain CNN that `run` saved."""
    import keras

    return keras.saving.load_model(path, compile=False, safe_mode=True)


def predict(model, pictures, mirror=False):
    """Key points (N, 15, 2) in pixels for pictures (N, 96, 96); `mirror` as in models.network."""
    output = model.predict(pictures[..., None].astype(np.float32), batch_size=256, verbose=0)
    key_points = output.reshape(len(pictures), -1, 2)
    if mirror:
        flipped = predict(model, pictures[:, :, ::-1])
        key_points = (key_points + mirror_key_points(flipped)) / 2
    return key_points


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("Train the plain CNN to compare with.")
    add = parser.add_argument
    add("--data", type=Path, default=HERE / "data" / "training.csv", help="training CSV")
    add("--model", type=Path, default=HERE / "models" / "plain_cnn.keras", help="save here")
    add("--epochs", type=int, default=200, help="as the original project")
    add("--seed", type=int, default=0, help="of the split and of the initialization")
    return parser.parse_args(argv)


def run(arguments):
    """Train and report."""
    import keras

    settings = Settings(seed=arguments.seed)
    faces = join_faces([load_training(arguments.data)])
    training, validation = split_faces(
        faces, settings.validation_split, settings.further_split, settings.seed
    )
    held_out = faces.take(validation)
    keras.utils.set_random_seed(arguments.seed)
    model = build_plain_cnn()
    model.compile("adam", masked_loss(1e9))  # no linear part: squared error
    x = faces.pictures[training][..., None].astype(np.float32)
    y = faces.key_points[training].reshape(len(training), -1)
    started = time.monotonic()

    def report(epoch, logs):
        if (epoch + 1) % 10 == 0:
            error = rmse(predict(model, held_out.pictures), held_out.key_points)
            seconds = time.monotonic() - started
            print(f"epoch {epoch + 1}: held-out RMSE {error:.3f} px, {seconds:.0f} s", flush=True)

    callback = keras.callbacks.LambdaCallback(on_epoch_end=report)
    model.fit(x, y, batch_size=32, epochs=arguments.epochs, verbose=0, callbacks=[callback])
    replace_file(arguments.model, model.save)
    error = rmse(predict(model, held_out.pictures), held_out.key_points)
    seconds, minutes = time.monotonic() - started, time.process_time() / 60
    print(f"{seconds:.0f} s of training; {minutes:.1f} minutes of processor time in all")
    print(f"validation RMSE {error:.3f} px on {len(validation)} faces")


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
