"""Files in the formats that lifters learn from, with people made up."""

import json
from pathlib import Path
from typing import Any

import numpy as np

CAMERAS = [
    {
        "id": f"camera{number}",
        "orientation": [0.5, 0.5, -0.5, 0.5] if number else [0.5, -0.5, 0.5, -0.5],
        "translation": [100.0 * number, 200.0, 1500.0],
        "res_w": 1000,
        "res_h": 1002 if number else 1000,
    }
    for number in range(2)
]


def write_motion(path: Path, *, lengths: tuple[int, ...] = (40, 30, 12, 20)) -> None:
    """Clips of subjects 1, 5, 0 and 14 who wave their arms and walk straight on."""
    rng = np.random.default_rng(0)
    frames = sum(lengths)
    time = np.arange(frames)[:, None, None]
    poses = 0.3 * np.sin(0.2 * time + rng.uniform(0, 6, (1, 24, 3)))
    trans = np.stack([0.02 * time[:, 0, 0], np.full(frames, 0.95), 0 * time[:, 0, 0]], 1)
    np.savez(
        path,
        poses=poses.astype(np.float16),
        trans=trans.astype(np.float32),
        offsets=np.cumsum([0, *lengths]),
        names=np.array([f"clip{i}" for i in range(len(lengths))]),
        subject=np.array([1, 5, 0, 14])[: len(lengths)],
        category=np.array(["walking", "walking", "dance", "dance"])[: len(lengths)],
        fps=30,
        licence="made up",
    )


def write_h36m(folder: Path, *, joints: int = 32, frames: int = 20, extra: int = 3) -> None:
    """VideoPose3D's files of two people and two cameras; videos run on after the recording."""
    rng = np.random.default_rng(0)
    positions: dict[str, Any] = {}
    detections: dict[str, Any] = {}
    for subject in ("S1", "S9"):
        for action in ("Walking", "Walking 1", "Eating"):
            world = rng.normal(size=(frames, joints, 3)).astype(np.float32)
            seen = [rng.uniform(0, 1000, (frames + extra, 17, 2)) for _ in CAMERAS]
            positions.setdefault(subject, {})[action] = world
            detections.setdefault(subject, {})[action] = [s.astype(np.float32) for s in seen]
    np.savez_compressed(folder / "data_3d_h36m.npz", positions_3d=np.array(positions))
    metadata = {"layout_name": "h36m", "num_joints": 17, "keypoints_symmetry": [[4], [1]]}
    np.savez_compressed(
        folder / "data_2d_h36m_gt.npz",
        positions_2d=np.array(detections),
        metadata=np.array(metadata),
    )
    cameras = dict.fromkeys(("S1", "S5", "S6", "S7", "S8", "S9", "S11"), CAMERAS)
    (folder / "cameras.json").write_text(json.dumps(cameras))


def write_3dhp(folder: Path) -> None:
    """P-STMO's two files."""
    rng = np.random.default_rng(0)

    def joints() -> dict[str, np.ndarray]:
        return {
            "data_2d": rng.uniform(0, 2000, (9, 17, 2)).astype(np.float32),
            "data_3d": rng.normal(0, 500, (9, 17, 3)).astype(np.float32),
        }

    train = {"S1 Seq1": [{"0": joints(), "4": joints()}, 50], "S2 Seq1": [{"0": joints()}, 25]}
    test = {name: joints() | {"valid": np.arange(9) > 2} for name in ("TS1", "TS6")}
    np.savez(folder / "data_train_3dhp.npz", data=np.array(train, dtype=object))
    np.savez(folder / "data_test_3dhp.npz", data=np.array(test, dtype=object))
