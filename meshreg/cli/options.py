"""What each command can be told; field docstrings become the help texts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from meshreg.fit.settings import FitSettings

Scheme = Literal["cihp", "lip", "atr", "fashionpedia", "sapiens", "sapiens2"]


@dataclass(frozen=True)
class FitOptions:
    """Fit a body to one person in a picture.

    Args:
        image: The picture, PNG or JPEG.
        keypoints: 2D joints of the person: COCO or OpenPose JSON.
        semantics: Label map of the picture: ids, 255 for unknown; or a black and white mask.
        scheme: What the ids of the label map mean.
        camera: JSON with K, or fx, fy, cx, cy, in pixels; a calibration of OpenCV, ROS; "predict".
        focal: Focal length in pixels.
        fov: Field of view in degrees.
        fov_axis: What the field of view spans.
        exif: Without these, take the focal length from the picture's EXIF data, if it is there.
        body: "builtin", "smpl_neutral", "smpl_male", "smpl_female", or the path of a body file.
        folder: Where licensed models are kept.
        person: Which person of the keypoint file, from 0; default the largest.
        out: Folder for overlay.png, person.glb and result.npz.
        turntable: Also write turntable.gif, the body seen from all around.
        settings: Numbers of the optimisation.
    """

    image: Path
    keypoints: Path | None = None
    semantics: Path | None = None
    scheme: Scheme = "cihp"
    camera: Path | None = None
    focal: float | None = None
    fov: float | None = None
    fov_axis: Literal["x", "y", "diagonal"] = "x"
    exif: bool = True
    body: str = "builtin"
    folder: Path = Path("body_models")
    person: int | None = None
    out: Path = Path("meshreg_out")
    turntable: bool = False
    settings: FitSettings = field(default_factory=FitSettings)


@dataclass(frozen=True)
class PredictOptions:
    """Predict the bodies of the people in a picture, or in all pictures of a folder.

    Args:
        image: A picture, PNG or JPEG, or a folder of pictures.
        boxes: JSON of people's boxes: [[left, top, right, bottom], ...] in pixels, the same by file
            name, or COCO.
        keypoints: 2D joints of the people, COCO or OpenPose JSON, or a folder of such files named
            like the pictures; without --boxes they also say where people are.
        camera: JSON with K, or fx, fy, cx, cy, in pixels; a calibration of OpenCV, ROS; "predict".
        focal: Focal length in pixels.
        fov: Field of view in degrees.
        fov_axis: What the field of view spans.
        exif: Without these, take the focal length from the picture's EXIF data, if it is there.
        model: A model file of meshreg's; default the weights that come with it.
        body: The body that the model predicts, if it is not where its file says: "builtin",
            "smpl_neutral", or a body file.
        folder: Where licensed models are kept.
        detect: Find people with a published detector; done without asking if it is on this machine
            and nothing else says where people are.
        threshold: Score from which the detector's boxes are taken.
        parse: Find out what people wear, for --refine and to look at.
        refine: Fit the bodies to 2D joints, given or found or seen by the network, and to clothes.
        detector: Folder with the weights of RT-DETR, which finds people.
        keypoint_detector: Folder with the weights of ViTPose, which finds 2D joints.
        parser: Folder with the weights of SegFormer, which parses clothes.
        out: Folder for each picture's overlay, .glb of all its people, and an .npz of each.
        device: Where the networks run: "cpu" or "cuda".
        settings: Numbers of the refinement.
    """

    image: Path
    boxes: Path | None = None
    keypoints: Path | None = None
    camera: Path | None = None
    focal: float | None = None
    fov: float | None = None
    fov_axis: Literal["x", "y", "diagonal"] = "x"
    exif: bool = True
    model: Path | None = None
    body: str | None = None
    folder: Path = Path("body_models")
    detect: bool = False
    threshold: float = 0.5
    parse: bool = False
    refine: bool = False
    detector: Path | None = None
    keypoint_detector: Path | None = None
    parser: Path | None = None
    out: Path = Path("meshreg_out")
    device: str = "cpu"
    settings: FitSettings = field(default_factory=FitSettings)


@dataclass(frozen=True)
class LiftOptions:
    """Lift one person's 2D joints over time to a 3D skeleton and a moving body.

    Args:
        keypoints: 2D joints: an .npz, JSON of COCO, AlphaPose or MMPose, or a folder of OpenPose's.
        model: A file of weights, or a lifter that comes with meshreg; "default" is the best.
        architecture: Which lifter a released file of weights is, if it does not tell.
        fps: Frames per second, if the file does not tell.
        size: Width and height of the pictures, such as 1920x1080, if the file does not tell.
        joint_set: Which joints they are, such as coco17, if the file does not tell.
        person: Who of several people; default whoever is seen in most frames.
        min_confidence: Joints with less count as not seen.
        camera: JSON with K, or with fx, fy, cx, cy, in pixels; or a calibration by OpenCV or ROS.
        focal: Focal length in pixels.
        fov: Field of view in degrees.
        fov_axis: What the field of view spans.
        flip: Average with what the lifter says of the mirrored clip.
        mesh: Also fit a body to the skeleton.
        mesh_animation: Also write body.gif, the moving body.
        body: "builtin", or the path of a body file with a Human3.6M regressor.
        folder: Where licensed models are kept.
        out: Folder for skeleton.npz, .csv, .bvh, .gif and .mp4; and motion.npz and body.glb.
        device: Where the lifter runs: "cpu" or "cuda".
    """

    keypoints: Path
    model: str = "default"
    architecture: str | None = None
    fps: float | None = None
    size: str | None = None
    joint_set: str | None = None
    person: int | None = None
    min_confidence: float = 0.3
    camera: Path | None = None
    focal: float | None = None
    fov: float | None = None
    fov_axis: Literal["x", "y", "diagonal"] = "x"
    flip: bool = True
    mesh: bool = True
    mesh_animation: bool = False
    body: str = "builtin"
    folder: Path = Path("body_models")
    out: Path = Path("meshreg_out")
    device: str = "cpu"


@dataclass(frozen=True)
class ListOptions:
    """List the body models that are there.

    Args:
        folder: Where licensed models are kept.
    """

    folder: Path = Path("body_models")


@dataclass(frozen=True)
class AddOptions:
    """Add licensed SMPL files: a file, a folder or a zip, recognised by content.

    Args:
        path: What you downloaded.
        folder: Where to put the converted models.
        gender: Needed when neither the file nor its name says.
        overwrite: Replace a model of the same gender.
    """

    path: Path
    folder: Path = Path("body_models")
    gender: Literal["neutral", "male", "female"] | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class BakeOptions:
    """Bake the built-in body again from its CC0 sources (needs the extra `bake`).

    Args:
        out: Where to write the body file.
        seed: Of the random people and poses that the body is fitted to.
    """

    out: Path = Path("builtin.npz")
    seed: int = 0


@dataclass(frozen=True)
class PosePriorOptions:
    """Learn the pose prior from motion capture.

    Args:
        motion: `.npz` of SMPL poses with subjects and categories.
        out: Where to write the prior.
        held_out: Subjects to leave out, for evaluation.
        seed: Of the sampling and the clustering.
    """

    motion: Path
    out: Path = Path("pose_prior.safetensors")
    held_out: list[int] = field(default_factory=lambda: [0, 5, 14, 86])
    seed: int = 0


@dataclass(frozen=True)
class LearnPriorOptions:
    """Learn what people wear where from fitted bodies and label maps of the same pictures.

    Args:
        synthetic: Learn from this many pictures of synthetic people instead of fits and masks.
        seed: Of the synthetic people.
        fits: Folders or files of fitted bodies: results of `meshreg fit`, SMPL parameters, meshes.
        masks: Folder of label maps, each named like its fit; a person may be there several times.
        out: Where to write the prior, a .safetensors file.
        scheme: What the ids of the label maps mean.
        body: "builtin", "smpl_neutral", "smpl_male", "smpl_female", or the path of a body file.
        folder: Where licensed models are kept.
        camera: JSON or .npz with K, for meshes that have no camera beside them.
        background: Count background pixels on the body, too, rather than leave them out.
        smoothing: How many pictures each neighbour of a vertex stands for.
        licence: Under which terms the prior may be used; written into the file.
    """

    synthetic: int = 0
    seed: int = 0
    fits: list[Path] = field(default_factory=list)
    masks: Path = Path("masks")
    out: Path = Path("semantic_prior.safetensors")
    scheme: Scheme = "cihp"
    body: str = "builtin"
    folder: Path = Path("body_models")
    camera: Path | None = None
    background: bool = False
    smoothing: float = 1.0
    licence: str = "not stated"


@dataclass(frozen=True)
class SynthOptions:
    """Draw dressed people with exact labels into WebDataset shards, for training or evaluation.

    Args:
        out: Folder for the shards; one that was left unfinished is continued.
        count: How many pictures.
        seed: Sample number i of a seed is always the same.
        size: Side of the square pictures, pixels.
        shard_size: Pictures per shard.
        jpeg_quality: 1 to 100; 0 writes lossless PNG.
        poses: "prior" for the shipped poses; or motion, whose subjects 5, 14 and 86 are left for
            the benchmark: an AMASS or SMPL .npz, an .npy, a .bvh, or a folder of .npz and .bvh.
        backgrounds: Folder of photographs to put behind people; default drawn ones. Nobody should
            be in them, for they would count as background.
        fov: Narrowest and widest angle across the longer side, degrees, such as [30,100]; default
            20 to 100, mostly 40 to 75.
        heights: Smallest and largest height of people, in heights of the picture, such as
            [0.25,0.8]; default 0.18 to 2.5.
        central: Share of people near the middle of the picture; default 0.35.
        device: Where to draw: "cpu" or "cuda".
        workers: Processes; default one per core, or a single one that uses the GPU.
        bench: Draw a fixed benchmark instead; the motion one needs its motion file as --poses.
        verify: Only compare the benchmark's sampled numbers with their digests.
        write_digests: Only write digests of the benchmark's sampled numbers.
        digests: File of digests; default those that meshreg ships, or BENCH.json here to write.
    """

    out: Path = Path("synth_out")
    count: int | None = None
    seed: int = 0
    size: int = 224
    shard_size: int = 500
    jpeg_quality: int = 95
    poses: str = "prior"
    backgrounds: Path | None = None
    fov: list[float] | None = None
    heights: list[float] | None = None
    central: float | None = None
    device: str = "cpu"
    workers: int | None = None
    bench: Literal["synth-bench-v1", "synth-bench-v1-motion"] | None = None
    verify: bool = False
    write_digests: bool = False
    digests: Path | None = None


@dataclass(frozen=True)
class EvaluateOptions:
    """Measure a trained regressor or lifter on a data set, by the rules of a named protocol.

    Args:
        model: A model file, released weights or a shipped lifter's name; default what comes along.
        data: Annotations (an .npz in the format of SPIN or BEDLAM, a .pkl of 3DPW or a folder of
            these), or a folder of shards.
        protocol: By which rules: 3dpw, 3dpw-hips, dsr-3dpw, h36m-p1, h36m-p2, mpi-inf-3dhp or
            synth-bench-v1; of lifters: lift-h36m, lift-h36m-root0, lift-humaneva, lift-3dhp,
            lift-3dhp-sequences or lift-motion.
        images: Folder that the names in the annotations start from; default beside the annotations.
        body: The body that the model predicts, if it is not where its file says: "builtin",
            "smpl_neutral", or a body file.
        folder: Where licensed models are kept; truth of 3DPW needs smpl_male and smpl_female.
        regressor: A .npy of Human3.6M's joints, J_regressor_h36m.npy; SMPL's bodies need it.
        focal: Focal length in pixels of pictures whose camera nobody knows; default a guess.
        out: Folder for results.json and samples.csv.
        batch_size: Pictures at once.
        workers: Processes that load pictures.
        device: Where the model runs: "cpu" or "cuda".
        seed: Of the intervals.
        detections: Of lifters: 2D joints in VideoPose3D's format; data are then the 3D ones.
        cameras: Of lifters: JSON of the data set's cameras.
        subjects: Of lifters: only these, such as 5,14,86; default those that papers measure.
        views: Of lifters and motion: cameras per clip.
        noisy: Of lifters and motion: with the errors of a detector.
        flip: Of lifters: average with what is said of the mirrored clip.
    """

    model: Path = Path("default")
    data: Path = Path("synth_out")
    protocol: str = "synth-bench-v1"
    images: Path | None = None
    body: str | None = None
    folder: Path = Path("body_models")
    regressor: Path | None = None
    focal: float | None = None
    out: Path = Path("evaluation")
    batch_size: int = 32
    workers: int = 0
    device: str = "cpu"
    seed: int = 0
    detections: Path | None = None
    cameras: Path | None = None
    subjects: str = ""
    views: int = 1
    noisy: bool = False
    flip: bool = True


@dataclass(frozen=True)
class DoctorOptions:
    """Check the installation and say what is missing.

    Args:
        folder: Where licensed models are kept.
    """

    folder: Path = Path("body_models")
