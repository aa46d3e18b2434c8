"""Look at a fitted body from all sides in the browser: mesh, skeleton, camera, photo, joints' rays.

Run `python demo/view_result.py demo/out/astronaut/result.npz --image demo/samples/astronaut.jpg`
and open the address that it prints. Needs viser: `pip install 'meshreg[demo]'`. The axes are the
photo camera's: x right, y down, z forward, metres.
"""

import argparse
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from meshreg.body.assets import check_same_topology
from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import load_body
from meshreg.data.images import read_image
from meshreg.errors import InputError
from meshreg.export import SKIN, FitRecord, load_npz

if TYPE_CHECKING:
    import viser

INK, RAY, BONE = (40, 44, 52), (255, 170, 40), (220, 60, 60)
FRUSTUM_DEPTH = 0.25  # of the photo in the frustum, as a share of the person's distance
EYE = np.array([0.55, -0.2, -1.0])  # where the first view stands, seen from the person


def start_server(host: str, port: int) -> "viser.ViserServer":
    """Start an empty viewer; if the port is taken, the next free one is used.

    Raises:
        InputError: if viser is not installed.
    """
    try:
        import viser
    except ImportError as error:
        raise InputError(
            "the viewer needs viser, which is not installed: pip install 'meshreg[demo]'."
        ) from error
    return viser.ViserServer(host=host, port=port, label="meshreg", verbose=False)


def faces_of(record: FitRecord, body_name: str | None) -> np.ndarray:
    """The triangles of the body that the result belongs to, (F, 3).

    Raises:
        InputError: if that body is another one.
    """
    data = load_body(body_name or record.body).data
    check_same_topology(data.topology_hash, record.topology_hash, "this result")
    return data.faces.astype(np.uint32)


def read_photo(path: Path, record: FitRecord) -> np.ndarray:
    """The photo that the result was made from.

    Raises:
        InputError: if its size is another one.
    """
    image = read_image(path)
    if image.shape[:2] != record.image_size:
        raise InputError(
            f"{path} has {image.shape[0]} rows and {image.shape[1]} columns but the result belongs "
            f"to a photo of {record.image_size}: give that photo."
        )
    return image


def ray_ends(record: FitRecord) -> np.ndarray:
    """Where the lines of sight through the given joints reach the person's depth, (N, 3)."""
    seen = record.keypoints_confidence > 0
    homogeneous = np.pad(record.keypoints_px[seen], ((0, 0), (0, 1)), constant_values=1)
    return record.joints_cam[0, 2] * homogeneous @ np.linalg.inv(record.K).T


def bone_ends(record: FitRecord) -> np.ndarray:
    """Both ends of every bone of the fitted skeleton, (B, 2, 3)."""
    return record.joints_cam[np.array(SKELETONS["smpl24"].bones)]


def build_scene(
    server: "viser.ViserServer", record: FitRecord, faces: np.ndarray, image: np.ndarray | None
) -> "dict[str, viser.SceneNodeHandle]":
    """Show the person, the camera and what joins them, with a switch for each; what was added."""
    scene = server.scene
    scene.set_up_direction("-y")
    height, width = record.image_size
    distance = float(record.joints_cam[0, 2])
    rays, bones = ray_ends(record), bone_ends(record)
    sight = np.stack((np.zeros_like(rays), rays), axis=1).astype(np.float32)
    nodes = {
        "body": scene.add_mesh_simple("/body", record.vertices_cam, faces, color=SKIN),
        "skeleton": scene.add_line_segments("/skeleton", bones, BONE, thickness=0.012),
        "camera": scene.add_camera_frustum(
            "/camera",
            fov=2 * float(np.arctan(height / 2 / record.K[1, 1])),
            aspect=width / height,
            scale=FRUSTUM_DEPTH * distance,
            thickness=0.004 * distance,
            color=INK,
            image=image,
        ),
        "lines of sight": scene.add_line_segments("/rays", sight, RAY, thickness=0.004),
    }
    for name, node in nodes.items():
        _add_switch(server, name, node, on=name != "skeleton")  # it hides inside the body
    middle = (record.vertices_cam.min(0) + record.vertices_cam.max(0)) / 2
    size = float(np.ptp(record.vertices_cam, axis=0).max())
    server.initial_camera.up = (0.0, -1.0, 0.0)
    server.initial_camera.position = middle + 1.3 * size * EYE / np.linalg.norm(EYE)
    server.initial_camera.look_at = middle
    server.gui.add_markdown(f"{record.body}; camera: {record.K_source}")
    return nodes


def _add_switch(
    server: "viser.ViserServer", name: str, node: "viser.SceneNodeHandle", *, on: bool
) -> None:
    switch = server.gui.add_checkbox(name, on)
    node.visible = on

    @switch.on_update
    def _(_: object) -> None:
        node.visible = switch.value


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("result", type=Path, help="result.npz of `meshreg fit`")
    parser.add_argument("--image", type=Path, help="the photo, to show it in the camera")
    parser.add_argument("--body", help="body name or file, if not the one the result names")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 shows it to the network")
    parser.add_argument("--port", type=int, default=8080)
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    try:
        record = load_npz(arguments.result)
        faces = faces_of(record, arguments.body)
        image = read_photo(arguments.image, record) if arguments.image else None
        server = start_server(arguments.host, arguments.port)
    except InputError as error:
        sys.exit(f"view_result.py: error: {error}")
    build_scene(server, record, faces, image)
    print(f"open http://{arguments.host}:{server.get_port()} in a browser; Ctrl-C ends", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        server.stop()


if __name__ == "__main__":
    main()
