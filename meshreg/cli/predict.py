"""`meshreg predict`: pictures in; overlays, meshes and numbers of all their people out."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshreg.cli.camera import camera_line, check_camera_options, chosen_camera
from meshreg.cli.device import check_device
from meshreg.cli.options import PredictOptions
from meshreg.errors import InputError, MissingFileError
from meshreg.files import check_writable

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from meshreg.data.boxes import Boxes, BoxFile
    from meshreg.data.keypoints import Keypoints
    from meshreg.fit.smplify import BodyFitter
    from meshreg.fit.trust import TrustingFitter
    from meshreg.geometry.cameras import Camera
    from meshreg.models.detectors import ClothingParser, KeypointDetector, PersonDetector
    from meshreg.predictor.person import Person
    from meshreg.predictor.regress import Predictor

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class _Tools:
    """Everything that is loaded once for all pictures; None: not needed."""

    predictor: "Predictor"
    boxes: "BoxFile | None"
    people: "PersonDetector | None"
    joints: "KeypointDetector | None"
    clothes: "ClothingParser | None"
    fitter: "BodyFitter | None"
    trusting: "TrustingFitter | None"  # for networks that know how sure they are


@dataclass(frozen=True, eq=False)
class _Picture:
    """One picture and what is known about it before anything is predicted."""

    name: str  # of the files that are written
    image: "np.ndarray"  # (H, W, 3)
    camera: "Camera"
    keypoints: "list[Keypoints] | None"  # None: no file
    boxes: "Boxes | None"  # None: the whole picture
    source: str  # of the boxes, in words


def run_predict(options: PredictOptions) -> None:
    """Load, then one picture after the other; those that cannot be used are skipped."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    check_camera_options(options)
    check_device(options.device)
    paths = _pictures(options.image)
    boxes = _box_file(options.boxes, paths)
    check_writable(options.out)  # before the work rather than after it
    tools = _tools(options, boxes)
    names = _names(paths)
    done = 0
    for path in paths:
        try:
            _predict_one(options, tools, path, names[path], console)
            done += 1
        except InputError as error:
            if not options.image.is_dir():
                raise
            console.print(f"skipped {path.name}: {' '.join(str(error).split())}")
    if not done:
        raise InputError(f"none of the {len(paths)} pictures in {options.image} could be used.")


# --- before the first picture ---------------------------------------------------------------------
def _pictures(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise MissingFileError(f"no picture or folder at {path}: check the path.")
    found = sorted(
        file
        for file in path.iterdir()
        if file.suffix.lower() in PICTURES and not file.name.startswith(".")
    )
    if not found:
        raise InputError(f"no pictures in {path}: expected files ending in {', '.join(PICTURES)}.")
    return found


def _names(paths: list[Path]) -> dict[Path, str]:
    """What the files of each picture are called: without its ending, if that is enough."""
    often = Counter(path.stem for path in paths)
    return {p: p.stem if often[p.stem] == 1 else p.name.replace(".", "_") for p in paths}


def _box_file(path: Path | None, pictures: list[Path]) -> "BoxFile | None":
    from meshreg.data.boxes import read_boxes

    if path is None:
        return None
    boxes = read_boxes(path)
    if len(pictures) > 1 and set(boxes.by_name) == {""}:
        raise InputError(
            f"{path} does not say which of the {len(pictures)} pictures its boxes are in: list "
            "them by file name."
        )
    return boxes


def _tools(options: PredictOptions, boxes: "BoxFile | None") -> _Tools:
    from meshreg.cli.fit import body_fitter, trusting_fitter
    from meshreg.models.detectors import ClothingParser
    from meshreg.predictor.regress import load_model

    body = None
    if options.body is not None:
        from meshreg.body.smpl import load_body

        body = load_body(options.body, folder=options.folder)
    predictor = load_model(options.model, body=body)
    knows = predictor.knows_its_doubts
    device = options.device
    fitter, trusting = None, None
    if options.refine:
        from copy import deepcopy

        # The fit stays on the CPU.
        fitted = predictor.body if device == "cpu" else deepcopy(predictor.body)
        fitter = body_fitter(fitted, options.settings)
        if knows:
            trusting = trusting_fitter(fitted, options.settings)
    predictor.model.to(device)
    return _Tools(
        predictor=predictor,
        boxes=boxes,
        people=_person_detector(options),
        joints=_joint_detector(options, needed=not knows),
        clothes=ClothingParser.load(options.parser, device=device) if options.parse else None,
        fitter=fitter,
        trusting=trusting,
    )


def _joint_detector(options: PredictOptions, *, needed: bool) -> "KeypointDetector | None":
    """The detector for a refinement without given joints, unless the network's own will do."""
    from meshreg.models.detectors import KeypointDetector

    asked = needed or options.keypoint_detector is not None or KeypointDetector.cached()
    if options.refine and options.keypoints is None and asked:
        found: KeypointDetector = KeypointDetector.load(
            options.keypoint_detector, device=options.device
        )
        return found
    return None


def _person_detector(options: PredictOptions) -> "PersonDetector | None":
    """The detector if it was asked for, or if it is at hand and nothing else says who is where."""
    from meshreg.models.detectors import PersonDetector

    asked = options.detect or options.detector is not None
    known = options.boxes is not None or options.keypoints is not None
    if asked and options.boxes is not None:
        raise InputError("--boxes and --detect both say where people are: give only one of them.")
    if asked or (not known and PersonDetector.cached()):
        detector: PersonDetector = PersonDetector.load(options.detector, device=options.device)
        return detector
    return None


# --- one picture ----------------------------------------------------------------------------------
def _predict_one(
    options: PredictOptions, tools: _Tools, path: Path, name: str, console: "Console"
) -> None:
    from meshreg.data.images import read_image

    image = read_image(path)
    size = image.shape[0], image.shape[1]
    camera = chosen_camera(options, size, path)
    keypoints = _given_keypoints(options.keypoints, path, size)
    boxes, source = _boxes(options, tools, image, path, keypoints)
    picture = _Picture(name, image, camera, keypoints, boxes, source)
    people = tools.predictor.predict(
        image,
        None if boxes is None else boxes.corners,
        camera,
        scores=None if boxes is None else boxes.scores,
    )
    console.print(f"{path.name}: {len(people)} {_people(len(people))}, {source}")
    console.print(f"  {camera_line(camera)}")
    if boxes is None:
        console.print(
            "  warning: nothing says where people are; give their boxes with --boxes, or --detect "
            "to find them with RT-DETR."
        )
    if not people:
        return
    labels = None
    if tools.clothes is not None:
        from meshreg.predictor.detect import parse_clothes

        labels = parse_clothes(image, [person.box for person in people], tools.clothes)
    if tools.fitter is not None:
        people = _refined(tools, picture, people, labels, console)
    _write(options.out, tools.predictor, picture, people, labels)
    console.print(f"  wrote {name}_overlay.png, {name}.glb and {_npz(name, len(people))}")


def _people(count: int) -> str:
    return "person" if count == 1 else "people"


def _npz(name: str, count: int) -> str:
    return f"{name}_0.npz" + (f" to {name}_{count - 1}.npz" if count > 1 else "")


def _given_keypoints(
    path: Path | None, picture: Path, size: tuple[int, int]
) -> "list[Keypoints] | None":
    """Everybody's joints of a picture from the file, or from its own file in the folder."""
    from meshreg.data.keypoints import read_everybody

    if path is None:
        return None
    if path.is_dir():
        own = [path / f"{picture.stem}{ending}.json" for ending in ("", "_keypoints")]
        path = next((file for file in own if file.is_file()), own[0])
    return read_everybody(path, size, image_name=picture.name)


def _boxes(
    options: PredictOptions,
    tools: _Tools,
    image: "np.ndarray",
    path: Path,
    keypoints: "list[Keypoints] | None",
) -> "tuple[Boxes | None, str]":
    """Where the people are and who said so; None is the whole picture."""
    import numpy as np

    from meshreg.data.boxes import Boxes, check_boxes
    from meshreg.predictor.detect import find_people
    from meshreg.predictor.refine import box_of

    if tools.boxes is not None:
        boxes = tools.boxes.of(path.name)
        check_boxes(boxes.corners, (image.shape[0], image.shape[1]), path.name)
        return boxes, f"boxes from {tools.boxes.path.name}"
    if tools.people is not None:
        return find_people(image, tools.people, threshold=options.threshold), "found by RT-DETR"
    if keypoints is not None:
        corners = np.stack([box_of(person) for person in keypoints])
        corners = corners[(corners[:, 2:] > corners[:, :2]).all(1)]  # one joint spans no box
        if not len(corners):
            raise InputError(f"the joints of {path.name} span no box: give its people by --boxes.")
        return Boxes(corners, np.ones(len(corners))), "boxes around the given joints"
    return None, "the whole picture as the box"


def _refined(
    tools: _Tools,
    picture: _Picture,
    people: "list[Person]",
    labels: "list[np.ndarray] | None",
    console: "Console",
) -> "list[Person]":
    """Everybody after a fit; people of whom too little is known stay as they were predicted."""
    from meshreg.predictor.detect import find_keypoints
    from meshreg.predictor.refine import keypoints_of, refine, refine_by_trust

    assert tools.fitter is not None
    known: list[Any] = [None] * len(people)
    if picture.keypoints is not None:
        known = keypoints_of(people, picture.keypoints)
    elif tools.joints is not None:
        known = find_keypoints(picture.image, [person.box for person in people], tools.joints)
    if tools.trusting is not None:
        people = refine_by_trust(people, known, tools.trusting)
        console.print("  refined, every joint trusted as far as the network is sure of it")
        if labels is None:
            return people
    refined = []
    for number, (person, keypoints) in enumerate(zip(people, known, strict=True)):
        if keypoints is None:
            if tools.trusting is None:
                console.print(f"  person {number} was not refined: no joints lie in that box.")
            else:
                console.print(f"  person {number}: clothes count only where joints are given, too.")
            refined.append(person)
            continue
        own = labels[number] if labels is not None else None
        try:
            refined.append(refine(person, keypoints, tools.fitter, own))
        except InputError as error:
            console.print(f"  person {number} was not refined: {error}")
            refined.append(person)
    return refined


def _write(
    folder: Path,
    predictor: "Predictor",
    picture: _Picture,
    people: "list[Person]",
    labels: "list[np.ndarray] | None",
) -> None:
    import numpy as np

    from meshreg.export import save_glb, save_image, save_npz
    from meshreg.render.annotate import draw_labels, label_palette
    from meshreg.render.painting import PERSON_COLORS

    for number, person in enumerate(people):
        save_npz(folder / f"{picture.name}_{number}.npz", person.record())
    data = predictor.body.data
    uv, uv_faces = (data.uv, data.uv_faces) if len(data.uv) else (None, None)
    vertices = np.stack([person.vertices_cam for person in people])
    glb = folder / f"{picture.name}.glb"
    save_glb(glb, vertices, data.faces, uv=uv, uv_faces=uv_faces, color=PERSON_COLORS)
    save_image(folder / f"{picture.name}_overlay.png", predictor.overlay(picture.image, people))
    if labels is not None:
        tinted = picture.image
        for own in labels:
            tinted = draw_labels(tinted, np.where(own == 255, 0, own), label_palette())
        save_image(folder / f"{picture.name}_clothes.png", tinted)
