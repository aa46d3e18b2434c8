"""Write the hand-made joints and clothing masks of the sample photographs.

The outlines and joints below were read off enlarged photographs by eye; no pose or segmentation
network took part. Run `python demo/annotate_samples.py` to write the files under demo/samples
again, and add `--draw FOLDER` for pictures to check them by eye.
"""

import argparse
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SAMPLES_FOLDER = Path(__file__).parent / "samples"
SIZE = (512, 512)  # height, width of both photographs

# Ids of the CIHP/Graphonomy taxonomy that occur in the two photographs.
BACKGROUND, HAIR, GLOVE, UPPER_CLOTHES, COAT, PANTS, NECK, FACE = 0, 2, 3, 5, 7, 9, 10, 13
UNKNOWN = 255  # something stands in front, so nobody can say whether the person is there

# COCO's seventeen joints in COCO's order; "left" is the person's left.
JOINTS = [
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
]
LIMBS = [
    ("left_ear", "left_eye"),
    ("left_eye", "nose"),
    ("nose", "right_eye"),
    ("right_eye", "right_ear"),
    ("left_shoulder", "right_shoulder"),
    ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"),
    ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"),
    ("right_shoulder", "right_hip"),
]  # those that check pictures show
SEEN, HIDDEN = 2, 1  # COCO's visibility; a joint under cloth counts as seen


@dataclass(frozen=True, eq=False)
class Annotation:
    """What is marked in one photograph."""

    joints: dict[str, tuple[int, int, int]]  # x, y in pixels and visibility; others are absent
    regions: tuple[tuple[int, str], ...]  # label and outline "x,y x,y ..."; later ones cover


ASTRONAUT = Annotation(
    joints={
        "nose": (226, 125, SEEN),
        "left_eye": (246, 103, SEEN),
        "right_eye": (203, 102, SEEN),
        "left_ear": (277, 118, HIDDEN),  # under the hair, its lobe shows
        "right_ear": (173, 113, HIDDEN),
        "left_shoulder": (318, 275, SEEN),
        "right_shoulder": (94, 264, SEEN),
        "right_elbow": (66, 452, SEEN),
        "right_wrist": (141, 506, HIDDEN),  # inside the metal ring of the cuff
        # The helmet hides the left forearm so far that its elbow would be a guess.
    },
    regions=(
        (  # helmet in front of the left arm
            UNKNOWN,
            "283,511 278,494 276,480 279,452 288,420 296,405 309,386 322,374 337,363 351,355 "
            "364,350 385,345 405,344 425,347 445,354 462,364 477,378 488,396 495,420 497,445 "
            "500,470 508,485 511,511",
        ),
        (  # pressure suit with its neck ring; straps, badges and valve belong to it
            COAT,
            "105,211 112,205 113,200 115,195 113,190 114,186 120,185 124,176 129,169 136,162 "
            "147,155 159,150 169,148 178,148 186,149 255,174 261,177 271,185 282,195 290,206 "
            "297,216 302,226 304,234 318,241 335,253 346,269 350,284 353,299 358,319 363,332 "
            "365,344 364,350 351,355 337,363 322,374 309,386 296,405 288,420 282,438 279,452 "
            "277,466 276,480 278,494 280,504 283,511 41,511 36,502 30,494 27,485 24,466 23,450 "
            "23,436 21,418 19,405 19,392 24,382 25,376 26,354 28,337 31,321 38,306 41,291 "
            "48,277 60,255 75,237 91,224",
        ),
        (  # black garment under the suit
            UPPER_CLOTHES,
            "186,166 176,167 165,170 161,190 155,197 159,200 164,208 170,213 174,218 177,228 "
            "181,234 186,241 194,245 200,241 212,240 219,245 237,246 252,247 259,246 262,239 "
            "271,228 272,223 269,215 263,201 255,186 255,180",
        ),
        (
            HAIR,
            "170,119 160,107 156,98 154,86 153,71 156,61 164,49 176,40 189,36 194,28 205,22 "
            "219,18 230,16 243,16 257,20 269,26 283,36 291,46 297,59 300,74 301,88 299,102 "
            "293,113 283,122 275,130 255,128 195,110",
        ),
        (
            NECK,
            "183,147 186,161 186,173 188,180 197,185 211,186 223,188 233,191 244,189 253,186 "
            "254,178 255,169 257,161 262,152",
        ),
        (  # with the two ear lobes
            FACE,
            "170,119 174,127 181,131 182,140 184,147 186,156 190,161 199,169 209,175 219,178 "
            "230,178 242,174 251,168 257,161 263,152 266,143 267,137 275,135 280,128 275,130 "
            "272,126 270,117 269,105 268,93 266,88 252,84 243,82 233,80 219,80 202,80 195,78 "
            "187,80 185,85 183,93 181,107 180,117 175,117",
        ),
    ),
)

CAMERA = Annotation(
    joints={
        "nose": (252, 166, SEEN),
        "left_eye": (249, 147, HIDDEN),  # behind the bridge of the nose
        "right_eye": (235, 149, SEEN),
        "right_ear": (190, 141, SEEN),
        "left_shoulder": (177, 200, HIDDEN),  # behind the collar and the right hand
        "right_shoulder": (90, 168, SEEN),
        "left_elbow": (244, 294, SEEN),
        "right_elbow": (80, 292, SEEN),
        "left_wrist": (280, 242, SEEN),
        "right_wrist": (184, 238, SEEN),
        "right_hip": (52, 416, HIDDEN),  # the long coat leaves some 20 px of doubt
    },
    regions=(
        # video camera, and the tripod's pole where the arms may be behind it
        (UNKNOWN, "258,140 325,138 326,155 318,165 318,186 276,187 262,180 255,172"),
        (UNKNOWN, "287,187 298,187 298,320 286,320"),
        (
            COAT,
            "146,111 152,106 162,106 185,150 236,197 241,220 248,247 262,229 270,236 287,244 "
            "287,287 280,293 270,300 260,307 250,312 246,313 240,311 232,308 225,304 206,293 "
            "200,303 192,317 181,331 172,343 160,359 150,371 141,382 144,397 147,414 149,431 "
            "150,459 151,481 151,511 0,511 0,259 2,254 11,243 17,235 21,225 27,221 31,214 33,207 "
            "40,196 48,185 55,173 61,161 70,149 81,140 97,131 112,126 123,124 130,125 134,120",
        ),
        # cuff of the left sleeve, on the far side of the tripod's pole
        (COAT, "297,247 299,249 302,259 304,273 301,275 299,279 297,281"),
        (PANTS, "100,447 115,463 125,479 134,493 137,506 139,511 90,511 93,486 97,461"),
        (  # collar of the shirt
            UPPER_CLOTHES,
            "161,147 166,151 172,163 181,180 188,187 191,196 190,200 181,207 179,214 176,203 "
            "172,186 167,166 162,153",
        ),
        # cuff of the shirt on the left arm
        (UPPER_CLOTHES, "271,241 276,244 281,245 287,244 287,262 285,265 280,259 275,252"),
        (
            NECK,
            "166,151 172,163 181,180 188,187 191,195 194,194 203,190 208,189 204,184 199,176 "
            "194,167 192,161 192,154 183,150 178,148 174,150",
        ),
        (
            HAIR,
            "161,107 164,100 170,93 172,89 178,81 183,75 190,72 197,69 206,68 219,69 230,72 "
            "236,76 244,81 251,88 257,94 265,103 269,110 271,117 270,125 268,131 263,129 258,127 "
            "256,131 230,128 210,150 204,150 194,140 182,146 178,149 174,151 170,151 165,150 "
            "161,147 157,141 155,133 155,126 154,117 155,110",
        ),
        (
            FACE,
            "257,129 250,127 243,126 236,126 230,126 226,124 222,126 219,130 215,132 212,134 "
            "210,140 209,146 208,150 204,150 203,145 200,140 198,134 196,131 194,128 191,126 "
            "186,126 182,128 180,132 179,140 180,146 183,151 187,155 190,156 191,161 194,167 "
            "199,177 204,185 207,189 214,194 221,197 228,198 234,195 237,191 241,188 241,180 "
            "245,178 246,175 245,171 249,171 253,169 254,165 253,159 252,154 251,150 252,143 "
            "256,140 257,137",
        ),
        (  # right hand, at the tripod's handle
            GLOVE,
            "159,220 168,216 180,214 185,207 195,199 202,197 210,197 219,199 229,199 235,194 "
            "238,191 241,189 241,195 239,201 239,205 242,206 243,210 243,214 241,220 237,225 "
            "231,226 226,226 222,236 215,247 207,256 195,255 189,250 182,249 178,248 170,240 "
            "163,229",
        ),
        (  # left hand, the part left of the pole
            GLOVE,
            "268,208 264,212 261,218 261,224 264,229 270,236 271,241 276,244 281,245 287,244 "
            "287,219 284,213 279,210 274,208",
        ),
        (  # left hand, the fingers that hold the camera
            GLOVE,
            "319,172 322,168 326,169 329,173 331,178 330,183 329,186 331,189 332,194 330,198 "
            "326,201 325,207 323,212 320,215 318,221 314,226 309,230 305,232 298,232 297,220 "
            "293,212 291,205 293,201 296,200 297,196 299,191 305,188 308,184 320,183 320,178",
        ),
        (BACKGROUND, "304,184 306,184 304,231 302,231"),  # strap of the camera
    ),
)

ANNOTATIONS = {"astronaut": ASTRONAUT, "camera": CAMERA}


def corners(outline: str) -> np.ndarray:  # (N, 2) int32
    """Read an outline written as "x,y x,y ..."."""
    return np.array([pair.split(",") for pair in outline.split()], dtype=np.int32)


def mask_of(annotation: Annotation) -> np.ndarray:  # (H, W) uint8
    """Paint the regions over each other, in the order they are listed."""
    mask = np.zeros(SIZE, np.uint8)
    for label, outline in annotation.regions:
        cv2.fillPoly(mask, [corners(outline)], label)
    return mask


def results_of(annotation: Annotation) -> str:
    """Write the joints as one COCO keypoint result; absent joints are three zeros."""
    rows = [annotation.joints.get(name, (0, 0, 0)) for name in JOINTS]
    person = {"category_id": 1, "keypoints": [n for row in rows for n in row], "score": 1.0}
    return json.dumps([person]) + "\n"


def png_of(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def write_whole(path: Path, content: bytes) -> None:
    """Write under a temporary name first, so that no half-written file is ever left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    draft.write_bytes(content)
    os.replace(draft, path)


def write_annotations(folder: Path) -> None:
    """Write the mask and the joints of every photograph into a folder."""
    for name, annotation in ANNOTATIONS.items():
        write_whole(folder / f"{name}_mask.png", png_of(mask_of(annotation)))
        write_whole(folder / f"{name}_keypoints.json", results_of(annotation).encode())


def colour_of(label: int) -> tuple[int, int, int]:
    """Give each label its own hue, golden-angle apart."""
    hsv = np.array([[[int(label * 137.5) % 180, 255, 255]]], np.uint8)
    red, green, blue = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def draw_regions(canvas: np.ndarray, mask: np.ndarray, opacity: float) -> None:
    """Tint every label and draw its border, on a canvas as large as the mask."""
    for label in np.unique(mask[mask > 0]).tolist():
        inside = mask == label
        tint = opacity * np.array(colour_of(label))
        canvas[inside] = ((1 - opacity) * canvas[inside] + tint).astype(np.uint8)
        borders, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, borders, -1, colour_of(label), 1)


def draw_joints(canvas: np.ndarray, joints: dict[str, tuple[int, int, int]], zoom: int) -> None:
    """Draw limbs and named joints: a disc where seen, a ring where hidden."""
    at = {name: (zoom * x + zoom // 2, zoom * y + zoom // 2) for name, (x, y, _) in joints.items()}
    for start, end in LIMBS:
        if start in at and end in at:
            cv2.line(canvas, at[start], at[end], (255, 255, 255), 1, cv2.LINE_AA)
    for name, (_, _, visibility) in joints.items():
        colour = (80, 255, 80) if name.startswith("left") else (255, 80, 255)
        cv2.circle(canvas, at[name], 5, colour, -1 if visibility == SEEN else 2, cv2.LINE_AA)
        corner = (at[name][0] + 7, at[name][1] - 5)
        cv2.putText(canvas, name, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)


def draw_checks(folder: Path, *, zoom: int = 2) -> None:
    """Write each photograph enlarged, once with the borders and joints, once tinted."""
    for name, annotation in ANNOTATIONS.items():
        with Image.open(SAMPLES_FOLDER / f"{name}.jpg") as picture:
            photo = np.array(picture.convert("RGB"))
        large = cv2.resize(photo, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
        mask = mask_of(annotation).repeat(zoom, axis=0).repeat(zoom, axis=1)
        for suffix, opacity in (("outline", 0.0), ("tint", 0.45)):
            canvas = large.copy()
            draw_regions(canvas, mask, opacity)
            draw_joints(canvas, annotation.joints, zoom)
            write_whole(folder / f"{name}_{suffix}.png", png_of(canvas))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=SAMPLES_FOLDER, help="folder to write into")
    parser.add_argument("--draw", type=Path, help="also write check pictures into this folder")
    arguments = parser.parse_args()
    write_annotations(arguments.out)
    if arguments.draw is not None:
        draw_checks(arguments.draw)


if __name__ == "__main__":
    main()
