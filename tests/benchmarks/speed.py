"""Speed of training, predicting and starting, each beside a named rival in the same run.

    python tests/benchmarks/speed.py                     # all parts: a quarter of an hour
    python tests/benchmarks/speed.py prediction start    # some of them
    taskset -c 0,1 python tests/benchmarks/speed.py      # on these two cores

training    the time until a short training is as good as the fully trained plain CNN, from process
            start, against the plain CNN's own training
environment the same training steps as TensorFlow comes, and with what `run_script` sets
step        the cost of a training step, and what the processor's arithmetic would allow
prediction  faces per second, and one face at a time, against MediaPipe Face Landmarker
start       --help, and the first picture of 16 test faces, against `import tensorflow`
memory      a training on a synthetic file of Kaggle's 7,049 rows, against only loading it by the
            usual recipe

Everything runs in fresh processes, on the cores that this script may use. Processor time counts all
threads; compare by it where the machine has other work. For Linux.
"""

import os
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from statistics import median

import common
import loading
import mediapipe_rival
import numpy as np
import streaming
from processes import in_fresh_process, run_timed, use_cores, work_of

from data.augment.views import augment
from data.batches import batches
from data.faces import read_faces, synthetic_faces
from data.key_points import COLUMNS, KEY_POINTS, SIZE
from data.settings import Settings
from data.system.command_line import keep_freed_memory, run_script
from data.system.files import HERE, InputError
from models import network as network_room
from models.export.export import import_extras
from models.network import build_model, with_source_offsets
from models.spread import freeze_spread
from models.storage import SHIPPED, load_model, weights_digest
from models.training import fit
from models.training.loss import masked_loss
from models.training.optimizer import make_optimizer
from models.training.workers import Worker

# Held-out RMSE of plain_cnn.py on Kaggle's 2,140 complete faces after its 200 epochs, seed 0. (It
# still fluctuates: ten epochs earlier it was 1.836. The short training ends below that, too.)
PLAIN_CNN_PX, PLAIN_CNN_EPOCHS = 1.915, 200
SHORT = ("--epochs", "3", "--batch-size", "32")


def table(header, rows):
    """Print a GitHub-markdown table."""
    print(common.markdown(header, rows) + "\n", flush=True)


# --- training ------------------------------------------------------------------------------------


def first_as_good(lines, pixels):
    """The first line of an epoch whose held-out RMSE is at most so many pixels, or None."""
    for line in lines:
        found = re.search(r"held-out RMSE +([\d.]+) px", line.text)
        if found and float(found[1]) <= pixels:
            return line
    return None


def training(arguments):
    """Time to the plain CNN's final error, start-up and loading included, against its training."""
    here = Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        few = max(arguments.plain_cnn_epochs // 10 * 10, 20)  # it reports every ten
        plain = run_timed(
            here / "plain_cnn.py", "--data", arguments.data, "--epochs", few,
            "--model", folder / "plain.keras",
        )  # fmt: skip
        epochs = [line for line in plain.lines if line.text.startswith("epoch ")]
        share = PLAIN_CNN_EPOCHS / (few - 10)  # the first ten hold the start
        rival = [
            share * (epochs[-1].seconds - epochs[0].seconds),
            share * (epochs[-1].processor - epochs[0].processor),
        ]
        rows = [
            [f"plain CNN, {PLAIN_CNN_EPOCHS} epochs (from {few - 10}, without its start)"]
            + [f"{arguments.pixels} px", *(f"{figure:.0f} s" for figure in rival), "1", "1"]
        ]
        for seed in arguments.seeds:
            ours = run_timed(
                HERE / "model_builder.py", "--data", arguments.data, *SHORT, "--seed", seed,
                "--model", folder / "short.keras", "--results", folder,
            )  # fmt: skip
            reached = first_as_good(ours.lines, arguments.pixels)
            name = f"`model_builder.py {' '.join(SHORT)} --seed {seed}`"
            for what, end in (("as good", reached), ("to its end", ours)):
                if end is None:
                    rows.append([f"{name}, {what}", "never", "–", "–", "–", "–"])
                    continue
                text = end.text if end is reached else ours.lines[-1].text
                error = re.search(r"RMSE +([\d.]+) px", text)[1]
                figures = end.seconds, end.processor
                rows.append(
                    [f"{name}, {what}", f"{error} px", *(f"{figure:.0f} s" for figure in figures)]
                    + [f"1/{r / f:.1f}" for r, f in zip(rival, figures, strict=True)]
                )
    table(["", "held-out RMSE", "time", "processor time", "time, of the plain CNN's",
           "processor time"], rows)  # fmt: skip


# --- environment ---------------------------------------------------------------------------------


def training_steps(keep, onednn, batch_size, steps):
    """Some steps of a training on synthetic faces, after three for warm-up; in a fresh process.

    Returns the Work, and a digest of the resulting weights.
    """
    if keep:
        keep_freed_memory()
    os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)  # set by `run_script`
    if onednn:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    settings = Settings(batch_size=batch_size)
    faces = synthetic_faces(4 * batch_size, 0)
    import keras

    keras.utils.set_random_seed(settings.seed)
    network, model = fit.build_networks("float32", fit.Sources(1, False, []), KEY_POINTS)
    freeze_spread(network)
    model = fit.compile_training(model, KEY_POINTS, settings, 1000, Worker())
    views = batches(faces, settings)
    step = partial(model.fit, views, shuffle=False, verbose=0)
    step(steps_per_epoch=3)
    work = work_of(lambda: step(steps_per_epoch=steps))
    return work, weights_digest(network)


# Whether freed memory is kept, and whether oneDNN's kernels are asked for.
ENVIRONMENTS = {
    "as TensorFlow comes": (False, False),
    "with `keep_freed_memory`": (True, False),
    "with oneDNN too": (True, True),
}


def environment(arguments):
    """The gain of keeping freed memory and of oneDNN's kernels: the same steps in turn."""
    rows, done = [], {way: [] for way in ENVIRONMENTS}
    faces = arguments.batch_size * arguments.steps
    for way in list(ENVIRONMENTS) * arguments.repeat:
        sizes = arguments.batch_size, arguments.steps
        work, digest = in_fresh_process(training_steps, *ENVIRONMENTS[way], *sizes)
        done[way].append((faces / (work.user + work.system), digest))
        rows.append(
            [way, f"{work.user:.1f} s", f"{work.system:.1f} s", f"{work.page_faults:,}",
             f"{done[way][-1][0]:.1f}", f"{faces / work.seconds:.1f}", f"{work.megabytes:.0f} MB"]
        )  # fmt: skip
    table([f"{arguments.steps} steps of {arguments.batch_size}", "user", "system", "page faults",
           "faces per processor second", "per second", "peak memory"], rows)  # fmt: skip
    rates = {way: median(rate for rate, _ in runs) for way, runs in done.items()}
    first, *others = rates
    for way in others:
        weights = [{digest for _, digest in done[one]} for one in (first, way)]
        same = "the same" if weights[0] == weights[1] else "other"
        gain = rates[way] / rates[first]
        print(f"{way}: {gain:.2f} times as many faces per processor second, {same} weights.\n")


# --- step ----------------------------------------------------------------------------------------


def multiply_adds(model):
    """Number of multiply-adds of the layers' kernels for a picture."""
    total = 0
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            # An EinsumDense has separate weights for each position, the others share theirs.
            own = type(layer).__name__ == "EinsumDense"
            places = 1 if own else np.prod(layer.output.shape[1:-1])
            total += int(places * np.prod(layer.kernel.shape))
    return total


def seconds_of(function, least=1.0):
    """Median processor seconds of a call, over at least that many seconds of calls."""
    function()
    times, started = [], time.process_time()
    while len(times) < 5 or time.process_time() - started < least:
        before = time.process_time()
        function()
        times.append(time.process_time() - before)
    return median(times)


def matmul_rate(dtype, side=2048):
    """Floating point operations a second of a large matrix product, on one core."""
    import tensorflow as tf

    matrix = tf.cast(tf.random.normal((side, side)), dtype)
    return 2 * side**3 / seconds_of(lambda: tf.matmul(matrix, matrix).shape)


def convolution_seconds(model, dtype, count):
    """Processor seconds of every convolution of a model for a batch, forward and both gradients."""
    import tensorflow as tf
    from keras import layers

    known = {}
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            given, made = ((count, *tensor.shape[1:]) for tensor in (layer.input, layer.output))
            key = given, made, tuple(layer.kernel.shape), layer.strides
            known[key] = known.get(key, 0) + 1
    total = 0.0
    for (given, made, kernel, strides), times in known.items():
        x, k, g = (tf.cast(tf.random.normal(shape), dtype) for shape in (given, kernel, made))

        def gradients(x, k, g, strides=strides):
            with tf.GradientTape() as tape:
                tape.watch((x, k))
                y = tf.nn.conv2d(x, k, strides, "SAME")
            # The picture's own gradient is not needed.
            return tape.gradient(y, k if x.shape[-1] == 1 else (x, k), g)

        total += times * seconds_of(partial(tf.function(gradients), x, k, g), 0.2)
    return total


def like_ours(settings):
    """The optimizer of `model_builder.train`, for a training of 1,000 steps."""
    from keras.optimizers.schedules import CosineDecay

    schedule = CosineDecay(settings.learning_rate, 1000)
    return make_optimizer(schedule, settings.weight_decay, settings.ema_momentum, 1000)


def step_parts(batch_size):
    """Processor seconds of the parts of a training step on one core; run in a fresh process.

    Returns a dict: `limits` (operations a second by dtype), `operations` of a face's step, and per
    dtype policy the parts' processor seconds per face.
    """
    use_cores(1)
    keep_freed_memory()
    import tensorflow as tf

    settings = Settings(batch_size=batch_size)
    faces = synthetic_faces(batch_size, 0)
    rng = np.random.default_rng(0)
    augmentation = seconds_of(lambda: augment(faces.pictures, faces.key_points, rng, settings))
    x, y = augment(faces.pictures, faces.key_points, rng, settings)
    inputs = tf.constant(x[..., None]), tf.zeros((batch_size, 1), tf.int32)
    truth = tf.constant(y.reshape(batch_size, -1))
    loss = masked_loss(settings.huber_px)

    def parts(dtype):
        network = build_model(dtype if dtype == "float32" else f"mixed_{dtype}")
        freeze_spread(network)
        model = with_source_offsets(network, 1)
        variables, optimizer = model.trainable_variables, like_ours(settings)
        optimizer.build(variables)

        @tf.function
        def gradients():
            with tf.GradientTape() as tape:
                error = loss(truth, model(inputs, training=True)["key_points"])
            return tape.gradient(error, [variable.value for variable in variables])

        found = gradients()
        seconds = {
            "convolutions": convolution_seconds(network, dtype, batch_size),
            "forward and backward": seconds_of(gradients),
            "optimizer": seconds_of(tf.function(lambda: optimizer.apply(found, variables))),
            "augmentation": augmentation,
        }
        model.compile(like_ours(settings), {"key_points": loss, "spread": None})
        data = tf.data.Dataset.from_tensors((inputs, truth)).repeat()
        model.fit(data, steps_per_epoch=3, verbose=0)
        started = time.process_time()
        model.fit(data, steps_per_epoch=20, verbose=0)
        seconds["step"] = (time.process_time() - started) / 20
        return {name: value / batch_size for name, value in seconds.items()}

    # Each kernel is used three times: forward, for its own gradient and for its input's.
    return {
        "operations": 3 * 2 * multiply_adds(build_model()),
        "limits": {dtype: matmul_rate(dtype) for dtype in ("float32", "bfloat16")},
        "float32": parts("float32"),
        "bfloat16": parts("bfloat16"),
    }


def step(arguments):
    """The parts of a training step's time, per face, on one core."""
    found = in_fresh_process(step_parts, arguments.batch_size)
    operations = found["operations"]
    print(f"A face's step takes {operations / 1e9:.2f} billion floating point operations.\n")
    rows = []
    for dtype in ("float32", "bfloat16"):
        limit, parts = found["limits"][dtype], found[dtype]
        least = operations / limit
        whole = parts["step"] + parts["augmentation"]
        others = parts["step"] - parts["forward and backward"] - parts["optimizer"]
        shares = {
            f"what a matrix product of {limit / 1e9:.0f} GFLOP/s would take": least,
            "all convolutions, each alone": parts["convolutions"],
            "forward and backward": parts["forward and backward"],
            "optimizer": parts["optimizer"],
            "rest of Keras's step": others,
            "augmentation": parts["augmentation"],
            "all": whole,
        }
        for name, seconds in shares.items():
            rows.append([dtype, name, f"{1000 * seconds:.2f} ms", f"{seconds / whole:.0%}"])
    table(["", "per face, one core", "processor time", "share of all"], rows)


# --- prediction ----------------------------------------------------------------------------------


def keras_model(path, bfloat16=False):
    """The saved model, if asked for with its body in bfloat16."""
    model, _ = load_model(path)
    if not bfloat16:
        return model
    other = build_model("mixed_bfloat16")
    other.set_weights(model.get_weights())
    return other


def open_predict(path, threads, bfloat16=False):
    """`model_builder.predict`, as face_key_points.py calls it."""
    model = keras_model(path, bfloat16)
    return lambda pictures: network_room.predict(model, pictures[..., 0])[0]


def open_function(path, threads, bfloat16=False):
    """The model as a tf.function."""
    import tensorflow as tf

    model = keras_model(path, bfloat16)
    function = tf.function(
        lambda pictures: model(pictures, training=False),
        input_signature=[tf.TensorSpec((None, SIZE, SIZE, 1))],
    )
    return lambda pictures: function(pictures)["key_points"].numpy()


def open_litert(path, threads):
    """A .tflite file in as many LiteRT interpreters as threads, each predicting face by face: that
    is faster than larger batches, and than several threads in one interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    free = SimpleQueue()
    for _ in range(threads):
        free.put(Interpreter(str(path), num_threads=1).get_signature_runner())

    def one(picture):
        runner = free.get()
        points = runner(picture=picture)["key_points"]
        free.put(runner)
        return points

    pool = ThreadPoolExecutor(threads)
    return lambda pictures: np.concatenate(list(pool.map(one, pictures[:, None])))


def open_onnx(path, threads):
    """An .onnx file in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda pictures: session.run(["key_points"], {"picture": pictures})[0]


# The function that opens each method; exported files are left out if they cannot be made.
METHODS = {
    "`predict`": open_predict,
    "`predict` in bfloat16": partial(open_predict, bfloat16=True),
    "tf.function": open_function,
    "tf.function in bfloat16": partial(open_function, bfloat16=True),
    "LiteRT": open_litert,
    "LiteRT, 8-bit weights": open_litert,
    "ONNX Runtime": open_onnx,
}


def predict_speed(open_it, path, threads, pictures, batch):
    """Faces per second and per processor second in batches, milliseconds for one face alone, and
    the key points (N, 30) of all; run in a fresh process."""
    use_cores(threads)
    predict = open_it(path, threads)
    pictures = pictures[..., None].astype(np.float32)
    points = np.concatenate(
        [
            predict(pictures[i : i + batch]).reshape(-1, len(COLUMNS))
            for i in range(0, len(pictures), batch)
        ]
    )
    figures = []
    started = time.monotonic()
    while len(figures) < 5 or time.monotonic() - started < 3:
        before = time.perf_counter(), time.process_time()
        predict(pictures[:batch])
        after = time.perf_counter(), time.process_time()
        figures.append([batch / (b - a) for a, b in zip(before, after, strict=True)])
    alone = []
    for picture in pictures[:100, None]:
        before = time.perf_counter()
        predict(picture)
        alone.append(time.perf_counter() - before)
    return *np.median(figures, axis=0), 1000 * median(alone), points


def mediapipe_speed(python, threads, pictures):
    """MediaPipe's wall and processor seconds per face, one at a time; run in a fresh process."""
    use_cores(threads)
    _, seconds, processor = mediapipe_rival.find_mesh(python, pictures)
    return seconds, processor


def faces_at_limit(threads):
    """Faces per second if all were one large matrix product, by dtype; run in a fresh process."""
    use_cores(threads)
    operations = 2 * multiply_adds(build_model())
    return {d: threads * matmul_rate(d) / operations for d in ("float32", "bfloat16")}


def export(model, folder):
    """The exported files by method name; none if the packages for it are missing."""
    files = {}
    for kind, names in (
        ("litert", {"LiteRT": ".tflite", "LiteRT, 8-bit weights": "_small.tflite"}),
        ("onnx", {"ONNX Runtime": ".onnx"}),
    ):
        try:
            import_extras(kind)
        except InputError as error:
            print(f"not measured: {error}\n")
            continue
        script = HERE / "face_key_points.py"
        run_timed(script, "--model", model, "--export", kind, "--results", folder)
        files |= {name: str(folder / f"{model.stem}{end}") for name, end in names.items()}
    return files


def prediction(arguments):
    """Faces per second against MediaPipe's, in batches and one at a time."""
    pictures = next(read_faces(arguments.test)).pictures
    python = mediapipe_rival.make_environment(arguments.mediapipe_env, sys.executable)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = export(arguments.model, Path(folder))
        for threads in arguments.threads:
            limits = in_fresh_process(faces_at_limit, threads)
            rival, processor = in_fresh_process(mediapipe_speed, python, threads, pictures[:200])
            rows.append([str(threads), "MediaPipe Face Landmarker", f"{1 / rival:.0f}", "1.00",
                         f"{1000 * rival:.1f} ms", f"{1000 * processor:.2f} ms", ""])  # fmt: skip
            expected = None
            for name, open_it in METHODS.items():
                path = files.get(name, None if open_it in (open_litert, open_onnx) else "")
                if path is None:
                    continue
                rate, worked, alone, points = in_fresh_process(
                    predict_speed, open_it, path or arguments.model, threads,
                    pictures, arguments.batch_size,
                )  # fmt: skip
                expected = points if expected is None else expected
                rows.append([str(threads), name, f"{rate:.0f}", f"{rate * rival:.1f}",
                             f"{alone:.1f} ms", f"{1000 / worked:.2f} ms",
                             f"{np.abs(points - expected).max():.2g} px"])  # fmt: skip
            for dtype, rate in limits.items():
                rows.append([str(threads), f"a matrix product as large, {dtype}",
                             f"{rate:.0f}", f"{rate * rival:.1f}", f"{1000 / rate:.1f} ms",
                             f"{1000 * threads / rate:.2f} ms", ""])  # fmt: skip
    table(["cores", "", "faces per second", "of MediaPipe's", "one face alone",
           "processor time per face", "largest difference"], rows)  # fmt: skip


# --- start ---------------------------------------------------------------------------------------


def start(arguments):
    """Time until --help has answered, and until the first picture is written."""
    builder, pictures = (HERE / name for name in ("model_builder.py", "face_key_points.py"))
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        streaming.write_test_file(folder / "test.csv", 16)
        first = folder / "test_result01.png"
        flags = "--model", arguments.model, "--data", folder / "test.csv", "--results", folder
        commands = {
            "`import tensorflow`": ["-c", "import tensorflow"],
            "`model_builder.py --help`": [builder, "--help"],
            "`face_key_points.py --help`": [pictures, "--help"],
            "`face_key_points.py`, 16 test faces": [pictures, *flags],
        }
        rows, rival = [], None
        for name, command in commands.items():
            runs, until_first = [], []
            for _ in range(arguments.repeat):
                started = time.time()
                runs.append(run_timed(*command))
                until_first.append(first.stat().st_mtime - started if first.exists() else None)
            seconds = median(run.seconds for run in runs)
            rival = rival or seconds
            rows.append([name, f"{seconds:.2f} s", f"{seconds / rival:.2f}",
                         f"{median(run.processor for run in runs):.2f} s"])  # fmt: skip
        seconds = median(until_first)
        rows.append(["– until its first picture", f"{seconds:.2f} s", f"{seconds / rival:.2f}", ""])
    table(["", "time", "of TensorFlow's import", "processor time"], rows)


# --- memory --------------------------------------------------------------------------------------


def memory(arguments):
    """Peak memory of an epoch on a full-size file, against only loading it by the usual recipe."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        path = folder / "training.csv"
        loading.write_full_size(path, arguments.rows)
        recipe = f"path = {str(path)!r}" + loading.RECIPE
        runs = {
            "usual recipe, loading alone": ["-W", "ignore", "-c", recipe],
            "`model_builder.py --epochs 1`": [
                HERE / "model_builder.py", "--data", path, "--epochs", 1,
                "--model", folder / "model.keras", "--results", folder,
            ],
        }  # fmt: skip
        rows, rival = [], None
        for name, command in runs.items():
            outcome = run_timed(*command)
            rival = rival or outcome.megabytes
            rows.append([name, f"{outcome.megabytes:.0f} MB", f"{outcome.megabytes / rival:.2f}",
                         f"{outcome.processor:.0f} s"])  # fmt: skip
    table([f"{arguments.rows:,} rows", "peak memory", "of the recipe's", "processor time"], rows)


# --- command line --------------------------------------------------------------------------------

PARTS = {
    "training": training,
    "environment": environment,
    "step": step,
    "prediction": prediction,
    "start": start,
    "memory": memory,
}


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("Measure training, predicting and starting, each beside a rival.")
    add = parser.add_argument
    add(
        "parts",
        nargs="*",
        choices=[*PARTS, []],
        default=[],
        metavar="PART",
        help=f"what to measure, of {', '.join(PARTS)}; unset: all",
    )
    add("--data", type=Path, default=common.KAGGLE, help="Kaggle's training file")
    add("--test", type=Path, default=common.SHARED / "test.csv.gz", help="Kaggle's test file")
    add(
        "--model",
        type=Path,
        default=SHIPPED,
        help="the model that predicts",
    )
    add(
        "--plain-cnn-epochs",
        type=int,
        default=20,
        help=f"epochs to time the plain CNN over; scaled up to {PLAIN_CNN_EPOCHS}",
    )
    add("--pixels", type=float, default=PLAIN_CNN_PX, help="the plain CNN's final held-out RMSE")
    add(
        "--seeds",
        type=int,
        nargs="+",
        default=[0, 1],
        help="of the short trainings; the plain CNN's figure belongs to the split of seed 0",
    )
    add("--batch-size", type=int, default=64, help="faces in a batch where predicting is timed")
    add("--steps", type=int, default=16, help="to time, for environment")
    add("--threads", type=int, nargs="+", default=[1, 2], help="cores to predict on")
    add("--repeat", type=int, default=3, help="starts of each script, of which the median is taken")
    add("--rows", type=int, default=7049, help="of the synthetic file that memory is measured on")
    add(
        "--mediapipe-env",
        type=Path,
        default=mediapipe_rival.environment_folder(),
        help="virtual environment of MediaPipe, made if it is missing",
    )
    return parser.parse_args(argv)


def run(arguments):
    """Measure the parts asked for."""
    for part in arguments.parts or PARTS:
        print(f"### {part}\n", flush=True)
        PARTS[part](arguments)


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
