"""Draw two people on the built-in body, with joints, clothing labels and exact ground truth.

Everything follows from the numbers in synthetic_people.py: nothing is random or photographed.
Run `python demo/make_synthetic.py` to write the `synthetic_*` files under demo/samples again, and
add `--draw FOLDER` for pictures to check them by eye.
"""

import argparse
import json
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import roma
import torch
from synthetic_people import PEOPLE, Outfit, Person
from torch import Tensor
from torch.nn.functional import normalize

from meshreg.body.assets import write_npz
from meshreg.body.keypoints import BodyKeypoints
from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import NUM_JOINTS, Body, load_body
from meshreg.export import save_image
from meshreg.files import written_whole
from meshreg.geometry.cameras import Camera, camera_from_fov, project
from meshreg.geometry.mesh import vertex_normals
from meshreg.render.annotate import draw_keypoints
from meshreg.render.painting import window_K
from meshreg.render.rasterizer import Fragments, rasterizer
from meshreg.render.shading import GAMMA, shade

SAMPLES_FOLDER = Path(__file__).parent / "samples"
SIZE = (640, 512)  # height, width
FINE = 3  # samples per pixel side; odd, so that the middle sample is the pixel's centre
SEEN, HIDDEN = 2, 1  # COCO's visibility
FACE_POINTS = 5  # of COCO's joints; these lie on the surface, the others inside the limbs
FACE_DEPTH, LIMB_DEPTH = 0.03, 0.12  # metres below the surface at which a joint is still seen

# Ids of the CIHP/Graphonomy taxonomy.
BACKGROUND, HAIR, UPPER_CLOTHES, PANTS, TORSO_SKIN, FACE = 0, 2, 5, 9, 10, 13
LEFT_ARM, RIGHT_ARM, LEFT_LEG, RIGHT_LEG = 14, 15, 16, 17
SKIN = (TORSO_SKIN, FACE, LEFT_ARM, RIGHT_ARM, LEFT_LEG, RIGHT_LEG)
# A limb's skin is where these joints carry more than half of the skinning weight.
LIMBS = {
    LEFT_ARM: ("left_shoulder", "left_elbow", "left_wrist", "left_hand"),
    RIGHT_ARM: ("right_shoulder", "right_elbow", "right_wrist", "right_hand"),
    LEFT_LEG: ("left_hip", "left_knee", "left_ankle", "left_foot"),
    RIGHT_LEG: ("right_hip", "right_knee", "right_ankle", "right_foot"),
}


# --- where the body is ----------------------------------------------------------------------------
class Shot:
    """The posed body of one person and everything that the camera sees of it."""

    def __init__(self, person: Person, body: Body) -> None:
        self.person, self.body = person, body
        self.camera: Camera = camera_from_fov(person.fov_deg, SIZE)
        self.betas = torch.tensor([person.betas])
        self.pose_rotmat = self._pose_rotmat()[None]
        self.transl = torch.tensor([person.pelvis]) - body.rest_joints(self.betas)[:, 0]
        posed = body(self.betas, self.pose_rotmat, self.transl)
        self.vertices, self.joints = posed.vertices[0], posed.joints[0, :NUM_JOINTS]

    @cached_property
    def R_cam_world(self) -> Tensor:
        """World axes are those of the camera held level: x right, y down, z forward."""
        pitch = torch.tensor(np.deg2rad(self.person.pitch_deg), dtype=torch.float32)
        return roma.rotvec_to_rotmat(pitch * torch.tensor([1.0, 0.0, 0.0]))

    def _pose_rotmat(self) -> Tensor:
        angles = torch.zeros(NUM_JOINTS, 3)
        for name, degrees in self.person.pose_deg.items():
            angles[SKELETONS["smpl24"].index(name)] = torch.tensor(degrees, dtype=torch.float32)
        pose: Tensor = roma.euler_to_rotmat("XYZ", angles.deg2rad())
        heading = torch.tensor([0.0, self.person.heading_deg, 0.0]).deg2rad()
        R_world_body = torch.diag(torch.tensor([1.0, -1, -1])) @ roma.rotvec_to_rotmat(heading)
        pose[0] = self.R_cam_world @ R_world_body
        return pose

    @cached_property
    def fragments(self) -> Fragments:
        K = window_K(self.camera.K, 0, 0, FINE)
        size = (SIZE[0] * FINE, SIZE[1] * FINE)
        return rasterizer().fragments(self.vertices[None], self.body.faces, K[None], size)

    @cached_property
    def covered(self) -> Tensor:
        """Which fine samples see the body, (FINE H, FINE W)."""
        return self.fragments.pix_to_face[0, ..., 0] >= 0

    def interpolate(self, per_vertex: Tensor) -> Tensor:
        """Vertex values at the covered samples, (N, C)."""
        face = self.fragments.pix_to_face[0, ..., 0][self.covered].long()
        bary = self.fragments.bary_coords[0, ..., 0, :][self.covered]
        return torch.einsum("nc,ncd->nd", bary, per_vertex[self.body.faces[face]])

    def keypoints(self) -> np.ndarray:  # (17, 3): x, y, visibility
        """COCO's joints in the picture; hidden ones lie deep below the surface in front of them."""
        points, _ = BodyKeypoints(self.body, "coco17")(self.betas, self.pose_rotmat, self.transl)
        pixels = project(points[0], self.camera.K)
        column, row = (FINE * (pixels + 0.5)).long().T
        surface = self.fragments.zbuf[0, row, column, 0]
        deepest = torch.full_like(surface, LIMB_DEPTH)
        deepest[:FACE_POINTS] = FACE_DEPTH
        hidden = (surface > 0) & (points[0, :, 2] - surface > deepest)
        visibility = torch.where(hidden, HIDDEN, SEEN)
        return torch.cat((pixels, visibility[:, None]), 1).numpy().astype(np.float64)


# --- what covers it: thresholds on fields of the body at rest, sample by sample -------------------
def _ellipse(x: Tensor, y: Tensor, width: float, height: Tensor | float) -> Tensor:
    """About the distance to an ellipse around the origin, negative inside."""
    return ((x / width) ** 2 + (y / height) ** 2).sqrt().sub(1) * width


def trousers(rest: Tensor, outfit: Outfit) -> Tensor:
    """Metres inside the trousers' seams; negative outside."""
    y, z = rest[:, 1], rest[:, 2]
    return torch.minimum(outfit.waist - 0.15 * z - y, y - outfit.leg)


def tank_top(rest: Tensor, lower_end: float) -> Tensor:
    """Metres inside the tank top's seams; negative outside."""
    x, y, z = rest[:, 0].abs(), rest[:, 1], rest[:, 2]
    in_front = torch.sigmoid(z / 0.012)
    neck = _ellipse(x, (y - 0.5).clamp(max=0), 0.088, 0.11 + 0.07 * in_front)
    arm = _ellipse((x - 0.225).clamp(max=0), y - 0.4, 0.085, 0.13)
    return torch.stack((y - lower_end, neck, arm, 0.225 - x)).amin(0)


def hair(rest: Tensor, hairline: float) -> Tensor:
    """Metres inside the hairline; negative outside."""
    from_middle = rest - rest.new_tensor([0.0, 0.624, 0.03])
    upward = normalize(from_middle, dim=1) @ rest.new_tensor([0.0, 0.62, -0.78])
    ear = _ellipse(rest[:, 2] - 0.041, rest[:, 1] - 0.594, 0.023, 0.034)
    beside_ear = torch.where(rest[:, 0].abs() > 0.06, ear, 1.0)
    inside = torch.minimum((upward - hairline) * 0.11, rest[:, 1] - 0.52)
    return torch.minimum(inside, beside_ear)


def face_colors(rest: Tensor, outfit: Outfit) -> Tensor:
    """Display colour of bare skin with lips, eyes and brows, (N, 3) in 0..1."""
    x, y, front = rest[:, 0].abs(), rest[:, 1], rest[:, 2] > 0.1
    skin = rest.new_tensor(outfit.skin) / 255
    features = [
        (
            _ellipse(rest[:, 0], y - 0.5415, 0.026, 0.0095),
            skin * skin.new_tensor([0.9, 0.72, 0.72]),
        ),
        (_ellipse(x - 0.031, y - 0.6155, 0.0125, 0.006), skin.new_tensor([0.86, 0.84, 0.82])),
        (_ellipse(x - 0.031, y - 0.6155, 0.0055, 0.006), skin.new_tensor([0.2, 0.14, 0.1])),
        (_ellipse(x - 0.031, y - 0.634, 0.02, 0.004), skin.new_tensor(outfit.hair) / 255),
    ]
    color = skin.expand(len(rest), 3)
    for outside, dye in features:
        color = torch.where(((outside < 0) & front)[:, None], dye, color)
    return color


def paint(shot: Shot) -> tuple[Tensor, Tensor]:
    """Label and linear colour of every covered sample, (N,) and (N, 3)."""
    outfit, body = shot.person.outfit, shot.body
    rest = shot.interpolate(body.v_template)
    weights = shot.interpolate(body.weights)
    neck, head = SKELETONS["smpl24"].index("neck", "head")
    label = torch.full((len(rest),), TORSO_SKIN)
    jaw = rest[:, 1] - 0.526 + 0.55 * (rest[:, 2] - 0.011)
    label[(weights[:, [neck, head]].sum(1) > 0.5) & (jaw > 0)] = FACE
    for part, joints in LIMBS.items():
        label[weights[:, SKELETONS["smpl24"].index(*joints)].sum(1) > 0.5] = part
    color = face_colors(rest, outfit)
    layers = [(HAIR, hair(rest, outfit.hairline), outfit.hair)]
    layers.append((PANTS, trousers(rest, outfit), outfit.trousers))
    if outfit.top is not None:
        layers.append((UPPER_CLOTHES, tank_top(rest, outfit.top), outfit.shirt))
    for part, inside, dye in layers:
        label = torch.where(inside > 0, part, label)
        hem = 0.8 if part != HAIR else 1.0
        shade_of_dye = torch.where(inside < 0.009, hem, 1.0)[:, None] * rest.new_tensor(dye) / 255
        color = torch.where((inside > 0)[:, None], shade_of_dye, color)
    return label, color**GAMMA


# --- light ----------------------------------------------------------------------------------------
def _creased(normals: Tensor, rest: Tensor, amount: Tensor) -> Tensor:
    """Normals tilted by a few slow waves, which read as cloth or hair instead of skin."""
    waves = rest.new_tensor([[31, 22, 9], [-17, 38, 21], [12, -29, 44]])
    phase = rest.new_tensor([0.4, 1.9, 3.7])
    return normalize(normals + amount[:, None] * torch.sin(rest @ waves.T + phase), dim=1)


def lit_body(shot: Shot, label: Tensor, albedo: Tensor) -> Tensor:
    """Display colour of every covered sample, (N, 3) in 0..1."""
    normals = shot.interpolate(vertex_normals(shot.vertices, shot.body.faces))
    cloth = ~torch.isin(label, torch.tensor(SKIN))
    rest = shot.interpolate(shot.body.v_template)
    normals = _creased(normals, rest, 0.13 * cloth)
    return shade(normals, normalize(-shot.interpolate(shot.vertices), dim=1), albedo)


def _shadow(shot: Shot, vertices: Tensor, blur: float) -> np.ndarray:
    """How much of the floor each pixel sees in the shadow of a flattened body, (H, W)."""
    hit = rasterizer().fragments(vertices[None], shot.body.faces, shot.camera.K[None], SIZE)
    mask = (hit.pix_to_face[0, ..., 0] >= 0).float().numpy()
    return cv2.GaussianBlur(mask, (0, 0), blur)


def floor_shadow(shot: Shot, ground: float) -> np.ndarray:  # (H, W)
    """A wide shadow of a lamp above, and a tight one under the feet."""
    world = shot.vertices @ shot.R_cam_world
    height = ground - world[:, 1]
    slant = world.new_tensor([0.28, 1.0, 0.22])
    thrown = (world + height[:, None] * slant) @ shot.R_cam_world.T
    dropped = world.clone()
    dropped[:, 1] = torch.where(height < 0.06, ground, world[:, 1])
    feet = dropped + 0.02 * world.new_tensor([0.28, 0.0, 0.22])
    feet = feet @ shot.R_cam_world.T
    return 0.45 * _shadow(shot, thrown, 12.0) + 0.3 * _shadow(shot, feet, 3.0)


def room(shot: Shot) -> np.ndarray:  # (FINE H, FINE W, 3) in 0..1, display RGB
    """A lit wall, a skirting board and a floor with the body's shadow."""
    person, world = shot.person, shot.vertices @ shot.R_cam_world
    ground = float(world[:, 1].max())
    K = window_K(shot.camera.K, 0, 0, FINE)
    rows, columns = np.mgrid[: SIZE[0] * FINE, : SIZE[1] * FINE]
    pixels = np.stack((columns, rows, np.ones_like(rows)), -1).astype(np.float32)
    ray = pixels @ (torch.linalg.inv(K).T @ shot.R_cam_world).numpy()
    wall_depth = float(world[:, 2].mean()) + 1.5
    height = ground - ray[..., 1] / ray[..., 2] * wall_depth  # where the ray meets the wall
    across = ray[..., 0] / ray[..., 2] * wall_depth
    lamp = np.exp(-((across + 0.7) ** 2) / 6 - (height - 2.0) ** 2 / 5)[..., None]
    wall = np.array(person.wall) / 255 * (0.72 + 0.3 * lamp)
    wall = np.where((height < 0.09)[..., None], 0.25 + 0.72 * wall, wall)
    depth = np.where(height < 0, ground / np.maximum(ray[..., 1], 1e-6) * ray[..., 2], wall_depth)
    light = 0.62 + 0.4 * np.exp(-((depth - wall_depth + 1.5) ** 2) / 2.5)
    shadow = floor_shadow(shot, ground).repeat(FINE, 0).repeat(FINE, 1)
    floor = np.array(person.floor) / 255 * (light * (1 - shadow))[..., None]
    return np.where((height < 0)[..., None], floor, wall)


# --- files ----------------------------------------------------------------------------------------
@torch.no_grad()
def draw(shot: Shot) -> tuple[np.ndarray, np.ndarray]:
    """The picture (H, W, 3) and its label map (H, W), both uint8."""
    label, albedo = paint(shot)
    fine = torch.from_numpy(room(shot)).float()
    fine[shot.covered] = lit_body(shot, label, albedo)
    picture = fine.reshape(SIZE[0], FINE, SIZE[1], FINE, 3).mean((1, 3)).clamp(0, 1)
    labels = torch.zeros(shot.covered.shape, dtype=torch.uint8)
    labels[shot.covered] = label.to(torch.uint8)
    middle = slice(FINE // 2, None, FINE)
    return (255 * picture).round().byte().numpy(), labels[middle, middle].numpy()


def write_person(name: str, person: Person, body: Body, folder: Path) -> None:
    """Write the picture, the label map, the joints and the truth of one person."""
    shot = Shot(person, body)
    picture, labels = draw(shot)
    save_image(folder / f"{name}.jpg", picture)
    save_image(folder / f"{name}_mask.png", labels)
    rounded = [round(value, 2) for value in shot.keypoints().flatten().tolist()]
    result = {"category_id": 1, "keypoints": rounded, "score": 1.0}
    with written_whole(folder / f"{name}_keypoints.json") as path:
        path.write_text(json.dumps([result]) + "\n", encoding="utf-8")
    truth = {
        "topology_hash": body.topology_hash,
        "betas": shot.betas[0],
        "pose_rotmat": shot.pose_rotmat[0],  # (24, 3, 3); the first turns the body to the camera
        "transl": shot.transl[0],
        "joints_cam": shot.joints,  # (24, 3), metres
        "K": shot.camera.K,
        "fov_deg": person.fov_deg,  # across the width
    }
    write_npz(folder / f"{name}_truth.npz", {key: np.asarray(v) for key, v in truth.items()})


def draw_checks(folder: Path) -> None:
    """Write each picture with its joints, and its labels in colour."""
    body = load_body()
    hues = (np.arange(20) * 97 % 180).astype(np.uint8)
    palette = cv2.cvtColor(
        np.stack((hues, 0 * hues + 170, 0 * hues + 235), 1)[None], cv2.COLOR_HSV2RGB
    )
    for name, person in PEOPLE.items():
        shot = Shot(person, body)
        picture, labels = draw(shot)
        joints = shot.keypoints()
        marked = draw_keypoints(picture, joints[:, :2], joints[:, 2], SKELETONS["coco17"].bones)
        tinted = np.where(labels[..., None] > 0, palette[0][labels], picture)
        save_image(folder / f"{name}.png", np.concatenate((picture, marked, tinted), 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=SAMPLES_FOLDER, help="folder to write into")
    parser.add_argument("--draw", type=Path, help="also write check pictures into this folder")
    arguments = parser.parse_args()
    body = load_body()
    for name, person in PEOPLE.items():
        write_person(name, person, body, arguments.out)
    if arguments.draw is not None:
        draw_checks(arguments.draw)


if __name__ == "__main__":
    main()
