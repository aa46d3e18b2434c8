"""A person found in a picture: the body, where it is, and the camera that saw it."""

from dataclasses import dataclass, field, replace

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import NUM_JOINTS, Body
from meshreg.data.keypoints import Keypoints
from meshreg.export import FitRecord
from meshreg.geometry.cameras import Camera
from meshreg.predictor.trusting import SeenJoints

NO_POINTS = np.zeros((0, 2), np.float32)


@dataclass(frozen=True, eq=False)
class Person:
    """A body in the camera of the whole picture: OpenCV axes, metres, radians, pixels."""

    body: str  # name of the body model, such as "builtin"
    topology_hash: str  # of that body; vertex-keyed data of another body does not fit
    betas: Float[np.ndarray, "S"]  # shape coefficients
    pose_rotmat: Float[np.ndarray, "24 3 3"]  # index 0 is the root, body to camera
    transl: Float[np.ndarray, "3"]  # smplx's: added after posing about the rest pelvis
    vertices_cam: Float[np.ndarray, "V 3"]
    joints_cam: Float[np.ndarray, "45 3"]  # smplx's 45, see SKELETONS["smplx45"]
    K: Float[np.ndarray, "3 3"]  # intrinsics of the whole picture
    K_source: str  # where K came from, in words
    image_size: tuple[int, int]  # of the whole picture: height, width
    box: Float[np.ndarray, "4"]  # left, top, right, bottom, pixels, as given or found
    score: float  # of the box, 0..1; 1 for boxes that somebody gave
    image_index: int = 0  # which of several pictures
    K_known: bool = True  # False: K is a guess
    # 2D joints that the body was fitted to after prediction; None: it was only predicted
    keypoints: Keypoints | None = None
    # The body's own points behind them, pixels
    reprojection_px: Float[np.ndarray, "N 2"] = field(default_factory=lambda: NO_POINTS)
    silhouette_iou: float = float("nan")  # with the label map used in refinement
    # What the network saw and how sure it was; None: it did not tell, or was already refined
    seen: SeenJoints | None = None

    def record(self) -> FitRecord:
        """What `meshreg.save_npz` writes and `meshreg fit` writes, too."""
        rotvec = roma.rotmat_to_rotvec(torch.from_numpy(self.pose_rotmat)).numpy()
        points = self.keypoints
        return FitRecord(
            body=self.body,
            topology_hash=self.topology_hash,
            betas=self.betas,
            body_pose=rotvec[1:],
            global_orient=rotvec[0],
            transl=self.transl,
            pose_rotmat=self.pose_rotmat,
            vertices_cam=self.vertices_cam,
            joints_cam=self.joints_cam[:NUM_JOINTS],
            joint_names=SKELETONS["smpl24"].joints,
            K=self.K,
            K_source=self.K_source,
            image_size=self.image_size,
            keypoint_names=SKELETONS[points.skeleton].joints if points else (),
            keypoints_px=points.points_px if points else NO_POINTS,
            keypoints_confidence=points.confidence if points else np.zeros(0, np.float32),
            reprojection_px=self.reprojection_px,
            silhouette_iou=self.silhouette_iou,
        )

    @property
    def camera(self) -> Camera:
        """The camera of the whole picture."""
        K, size = torch.from_numpy(self.K), self.image_size
        return Camera(K=K, size=size, source=self.K_source, known=self.K_known)

    def posed(
        self,
        body: Body,
        betas: Float[Tensor, " S"],
        pose_rotmat: Float[Tensor, "24 3 3"],
        transl: Float[Tensor, "3"],
    ) -> "Person":
        """The same person with another shape, pose and place."""
        with torch.no_grad():
            posed = body(betas[None], pose_rotmat[None], transl[None])
        return replace(
            self,
            betas=betas.numpy(),
            pose_rotmat=pose_rotmat.numpy(),
            transl=transl.numpy(),
            vertices_cam=posed.vertices[0].numpy(),
            joints_cam=posed.joints[0].numpy(),
        )
