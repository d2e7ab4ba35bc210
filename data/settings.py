"""Every setting of a training, with the reason for its value."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Settings:
    """Every setting of a training; the model's record keeps them.

    Errors in the comments are held-out RMSE on Kaggle's faces; tests/benchmarks/README.md has the
    ablations.
    """

    # --- data and split ---
    seed: int = 0  # the split, the first weights, the order and every augmentation follow from it
    validation_split: float = 0.2  # share of the rows held out, near-identical pictures together
    further_split: float = 0.1  # share held out of each further file: those are mainly for training
    first_repeats: int = 10  # uses of the first file per epoch, so that others do not swamp it
    alike: tuple[str, ...] = ()  # key points that all files label at the same spot: no offset

    # --- training ---
    epochs: int = 32  # 28 minutes of one core for 2,140 faces; twice as many gain another 4 %
    batch_size: int = 64  # keeps the cores busy, and leaves 26 steps an epoch on 1,700 faces
    learning_rate: float = 5e-3  # the peak of the cosine; 2e-3 is worse by 3 %, 1e-2 no better
    warmup_steps: int = 200  # AdamW's second moments need a while before large steps are safe
    weight_decay: float = 0.02  # decoupled (AdamW); small, the augmentation regularises already
    ema_momentum: float = 0.995  # the saved weights average about the last 200 steps
    emphasized: tuple[str, ...] = ()  # key points whose errors count `emphasis` times
    emphasis: float = 3.0  # a few of many points hardly change the mean otherwise
    huber_px: float = 1.0  # Huber's delta: mislabelled points must not dominate

    # --- augmentation: the pictures are varied as those differ on which a network fails ---
    full_augmentation: int = 64  # epochs; shorter runs are augmented in proportion: 32 epochs
    # give 1.00 px that way, and 1.10 px at full strength
    full_views: int = 110_000  # or as many augmented faces: what those epochs of 1,700 faces show
    # geometry
    flip: float = 0.5  # probability of the mirrored picture (left and right points swap)
    rotation: float = 12.0  # degrees, standard deviation; heads in the wild tilt more than Kaggle's
    scale: float = 0.08  # log scale, standard deviation; face detectors' boxes vary that much
    stretch: float = 0.04  # log aspect ratio and shear, standard deviation: a crude yaw
    perspective: float = 0.06  # by how much nearer edges look larger, standard deviation
    shift: float = 4.0  # pixels, standard deviation
    # light
    relight: float = 1.0  # strength of the changes in contrast, brightness, gamma, light direction
    noise: float = 8.0  # grey values: the standard deviation is drawn from 0 to this
    low_resolution: float = 0.15  # share of the pictures brought down to 24, 32 or 48 pixels
    # occlusion: hidden points must be guessed as well
    cut_out: float = 0.5  # patches per picture: hands, hair, anything in front of the face
    sunglasses: float = 0.06  # share of the pictures that get dark glasses over the eyes
    hat: float = 0.06  # share covered from the brows upwards
    hair: float = 0.06  # share with hair over the forehead or one side
    hand: float = 0.06  # share with a hand in front of the face

    # --- spread: learned after the key points, with the rest of the network frozen ---
    non_faces: float = 0.3  # share of the pictures that show no face
    spread_epochs: int = 6  # more gain nothing
    spread_steps: int = 1200  # at most; with 400 other things look more like faces to it


GEOMETRY = ("rotation", "scale", "stretch", "perspective", "shift")
LIGHT = ("relight", "noise", "low_resolution")
OCCLUSION = ("cut_out", "sunglasses", "hat", "hair", "hand")


def scale_augmentation(settings: Settings, epochs: int, rows: int) -> Settings:
    """The settings with the augmentation as strong as suits a run of so many epochs of `rows`.

    Below `full_augmentation` epochs, and `full_views` augmented faces, all of it but the flip is
    turned down in proportion: there is no time to learn the hard views, and none to learn the
    faces by heart.
    """
    strength = max(epochs / settings.full_augmentation, epochs * rows / settings.full_views)
    names = (*GEOMETRY, *LIGHT, *OCCLUSION)
    changes = {name: min(1, strength) * getattr(settings, name) for name in names}
    return replace(settings, **changes)
