"""Clips for the tests of videos, and a stand-in for the tracker."""

import os
import signal
import struct
from pathlib import Path

import numpy as np
from PIL import Image

import face_key_points as fkp
from data.faces import synthetic_faces
from data.images.video_writer import TIME_BASE, VideoWriter
from data.key_points import KEY_POINTS
from models.storage import Landmarker
from models.track.smoothing import Face
from results import videos as room

RED, BLUE = (200, 60, 30), (40, 90, 180)
FILM = "slides_key_points.mp4"


def run(*arguments):
    return fkp.main([str(a) for a in arguments])


def write_clip(path, size=(160, 120), count=20, rate=25.0, times=None):
    """A video, red on the left and blue on the right, with a white upper left corner."""
    picture = np.empty((size[1], size[0], 3), np.uint8)
    picture[:, : size[0] // 2], picture[:, size[0] // 2 :] = RED, BLUE
    picture[: size[1] // 4, : size[0] // 4] = 255
    writer = VideoWriter(path, size, rate)
    for i in range(count):
        writer.write(picture, i / rate if times is None else times[i])
    writer.close()
    return path


def turned(path, matrix):
    """Put a display matrix into an .mp4, as phones do that were held upright."""
    data = bytearray(path.read_bytes())
    place = data.rindex(b"tkhd") + 4 + 4 + 20 + 16
    assert struct.unpack(">9i", data[place : place + 36])[0] == 0x10000
    a, b, c, d = (0x10000 * value for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    path.write_bytes(data)
    return path


class OneFace:
    """Follows a face that stands still in every frame but every fifth: no network is needed."""

    def __init__(self, place=(20.0, 10.0)):
        self.points = synthetic_faces(1, seed=3).key_points[0].astype(float) + place
        self.count, self.frames, self.damaged = 1, 0, 0
        self.stop_at, self.stop_by = None, signal.SIGINT  # the frame and the signal
        self.shown = []  # the times of frames that were shown ahead

    def prepare(self, grey, time):
        self.shown.append(time)

    def follow_damaged(self, grey, time):
        self.damaged += 1

    def step(self, grey, time):
        self.frames += 1
        if self.frames == self.stop_at:
            os.kill(os.getpid(), self.stop_by)
        spread = np.full(15, 1.0 + 0.1 * (self.frames % 7))
        return [Face(1, self.points.copy(), spread)] if self.frames % 5 else []


def new_tracker(*_):
    """One that runs in another process."""
    return OneFace()


def one_face(monkeypatch):
    """`--video` with a face that is always there, and without loading a model."""
    one = OneFace()
    model = Landmarker(None, {"key_points": KEY_POINTS}, Path("m.keras"))
    monkeypatch.setattr(room, "load_for_photos", lambda path: model)
    monkeypatch.setattr(room, "make_tracker", lambda *_: one)
    return one


def encode(
    path, pictures, times, shape=None, sound=0.0, codec="libx264", options=None, base=TIME_BASE
):
    """A video as others write it: with pixels of a shape, with so many seconds of sound."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = base
        if shape:
            stream.codec_context.sample_aspect_ratio = shape
        heard = container.add_stream("aac", rate=8000) if sound else None
        for picture, shown in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = round(shown / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for i in range(round(8000 * sound) // 1024):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            samples.sample_rate, samples.pts = 8000, 1024 * i
            container.mux(heard.encode(samples))
        if heard:
            container.mux(heard.encode(None))
    return path


GREY = np.full((48, 64, 3), 128, np.uint8)


def moving(count):
    """Frames of a texture that moves: what refers to a damaged frame is damaged too."""
    texture = np.random.default_rng(0).integers(40, 216, (36, 60, 3)).astype(np.uint8)
    large = np.array(Image.fromarray(texture).resize((360, 216), Image.Resampling.BICUBIC))
    noise = np.random.default_rng(1).integers(-9, 10, (count, 120, 160, 3))
    return [(large[i % 60 :, i:][:120, :160] + noise[i]).astype(np.uint8) for i in range(count)]


def spoil(source, path, which, change):
    """Copy a video; the data of the packets whose number `which` accepts are changed."""
    import av

    with av.open(str(source)) as whole, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(whole.streams.video[0])
        packets = [packet for packet in whole.demux(video=0) if packet.size]
        for number, packet in enumerate(packets):
            copy = av.Packet(change(bytearray(bytes(packet))) if which(number) else bytes(packet))
            for name in ("pts", "dts", "time_base", "duration", "is_keyframe"):
                setattr(copy, name, getattr(packet, name))
            copy.stream = stream
            container.mux(copy)
    return path
