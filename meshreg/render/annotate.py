"""Flat drawings on images: key points with bones, label maps, sheets of pictures."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer, UInt8
from PIL import Image, ImageDraw, ImageFont

from meshreg.errors import InputError

Color = tuple[int, int, int]  # display RGB, 0..255

KEYPOINT_COLOR: Color = (255, 196, 40)
OUTLINE: Color = (32, 32, 36)
INK: Color = (60, 60, 66)  # captions
PAPER = 250  # grey level behind pictures, and behind meshes shown without their photo
FINE = 4  # discs and lines are drawn this many times larger, then averaged
GAP = 6  # pixels between the pictures of a sheet


def check_image(image: np.ndarray) -> None:
    """Refuse anything but an 8-bit RGB image.

    Raises:
        InputError: if the array is not uint8 of shape (H, W, 3).
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(
            f"expected an RGB image as a uint8 array of shape (H, W, 3), found {image.dtype} of "
            f"shape {image.shape}: convert it, for example by (255 * image).astype(np.uint8)."
        )


class _FineCanvas:
    """A transparent window of an image, drawn on at `FINE` times its size."""

    def __init__(self, x0: int, y0: int, x1: int, y1: int) -> None:
        self.x0, self.y0, self.x1, self.y1 = x0, y0, x1, y1
        self.picture = Image.new("RGBA", ((x1 - x0) * FINE, (y1 - y0) * FINE))
        self.pen = ImageDraw.Draw(self.picture)

    def _fine(self, point: np.ndarray) -> tuple[float, float]:
        # The pixel-centre rule of resizing: u' = (u + 0.5) * s - 0.5.
        x, y = (point - (self.x0, self.y0) + 0.5) * FINE - 0.5
        return float(x), float(y)

    def disc(self, centre: np.ndarray, radius: float, color: Color) -> None:
        x, y = self._fine(centre)
        reach = radius * FINE
        # Both ends of the box belong to the ellipse, and fractions would be cut off towards zero.
        low = (math.ceil(x - reach), math.ceil(y - reach))
        high = (math.floor(x + reach), math.floor(y + reach))
        self.pen.ellipse((low, high), fill=(*color, 255))

    def line(self, start: np.ndarray, end: np.ndarray, width: float, color: Color) -> None:
        ends = [(round(x), round(y)) for x, y in (self._fine(start), self._fine(end))]
        self.pen.line(ends, fill=(*color, 255), width=max(1, round(width * FINE)))

    def blend_into(self, image: np.ndarray) -> None:
        fine = np.asarray(self.picture, np.float32)
        rows, columns = self.y1 - self.y0, self.x1 - self.x0
        opacity = fine[..., 3:] / 255
        rgba = np.concatenate((fine[..., :3] * opacity, opacity), axis=2)
        rgba = rgba.reshape(rows, FINE, columns, FINE, 4).mean(axis=(1, 3))
        region = image[self.y0 : self.y1, self.x0 : self.x1]
        region[:] = np.rint(region * (1 - rgba[..., 3:]) + rgba[..., :3])


def draw_keypoints(
    image: np.ndarray,
    points_px: Float[np.ndarray, "J 2"],
    confidence: Float[np.ndarray, "J"],
    bones: Sequence[tuple[int, int]] = (),
    *,
    color: Color | Sequence[Color] = KEYPOINT_COLOR,
    radius: float | None = None,
) -> np.ndarray:
    """Draw key points as outlined discs and bones as lines; confidence 0 means "not seen".

    Args:
        image: RGB, (H, W, 3) uint8; it is not changed.
        points_px: integer coordinates are pixel centres.
        confidence: points with 0 or less, and their bones, are left out.
        bones: pairs of point indices.
        color: one RGB for all points or one per point; a bone takes the colour of its second point.
        radius: of the discs in pixels; by default it follows the size of the image.
    """
    check_image(image)
    drawn = image.copy()
    height, width = image.shape[:2]
    seen = (confidence > 0) & np.isfinite(points_px).all(axis=1)
    if not seen.any():
        return drawn
    size = max(2.0, 0.007 * max(height, width)) if radius is None else radius
    per_point = [tuple(c) for c in np.broadcast_to(np.asarray(color), (len(points_px), 3)).tolist()]
    margin = math.ceil(size + 2)
    limit = np.array([width, height])
    x0, y0 = np.clip(np.floor(points_px[seen].min(axis=0)) - margin, 0, limit).astype(int)
    x1, y1 = np.clip(np.ceil(points_px[seen].max(axis=0)) + margin + 1, 0, limit).astype(int)
    if x0 >= x1 or y0 >= y1:
        return drawn
    canvas = _FineCanvas(int(x0), int(y0), int(x1), int(y1))
    visible_bones = [(a, b) for a, b in bones if seen[a] and seen[b]]
    for a, b in visible_bones:
        canvas.line(points_px[a], points_px[b], size + max(1.0, size / 3), OUTLINE)
    for a, b in visible_bones:
        canvas.line(points_px[a], points_px[b], size, per_point[b])
    for joint in np.flatnonzero(seen):
        canvas.disc(points_px[joint], size + max(0.5, size / 6), OUTLINE)
        canvas.disc(points_px[joint], size, per_point[joint])
    canvas.blend_into(drawn)
    return drawn


def colorize_labels(
    labels: Integer[np.ndarray, "H W"], palette: UInt8[np.ndarray, "C 3"]
) -> np.ndarray:
    """Turn a label map into an RGB image by looking each label up in a palette.

    Raises:
        InputError: if a label has no colour in the palette.
    """
    if labels.size and (labels.min() < 0 or labels.max() >= len(palette)):
        raise InputError(
            f"expected labels in 0..{len(palette) - 1}, found {labels.min()}..{labels.max()}: "
            "use the palette of these labels' taxonomy."
        )
    return palette[labels]


def draw_labels(
    image: np.ndarray,
    labels: Integer[np.ndarray, "H W"],
    palette: UInt8[np.ndarray, "C 3"],
    *,
    alpha: float = 0.6,
) -> np.ndarray:
    """Tint a photo with the colours of its label map; label 0, the background, stays as it is.

    Args:
        image: RGB, (H, W, 3) uint8; it is not changed.
        labels: one label per pixel of the photo.
        palette: the colour of each label, such as `label_palette()`.
        alpha: 1 hides the photo behind the colours.

    Raises:
        InputError: if the sizes differ, alpha is not in 0..1, or a label has no colour.
    """
    check_image(image)
    if labels.shape != image.shape[:2]:
        raise InputError(
            f"expected labels of the picture's size {image.shape[:2]}, found {labels.shape}: "
            "resize them with meshreg.data.images.resize_labels."
        )
    if not 0 <= alpha <= 1:
        raise InputError(f"expected 0 <= alpha <= 1, found {alpha}: 1 hides the photo.")
    colors = colorize_labels(labels, palette)
    drawn = image.copy()
    tinted = labels != 0
    drawn[tinted] = np.rint((1 - alpha) * image[tinted].astype(np.float32) + alpha * colors[tinted])
    return drawn


def label_palette() -> UInt8[np.ndarray, "256 3"]:
    """Colours for any 8-bit label map: neighbours differ much in hue; 255, unknown, is grey."""
    turns = np.arange(256) * 0.618034 % 1  # the golden ratio spreads any number of hues evenly
    hue = turns[:, None] + np.array([0, 1 / 3, 2 / 3])
    palette = np.rint(150 + 90 * np.cos(2 * np.pi * hue)).astype(np.uint8)
    palette[0], palette[255] = 0, 128
    return palette


def _tile(image: np.ndarray, title: str | None, height: int, strip: int) -> np.ndarray:
    check_image(image)
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    picture = Image.new("RGB", (width, height + strip), (PAPER,) * 3)
    picture.paste(
        Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS), (0, strip)
    )
    if title:
        font = ImageFont.load_default(size=0.6 * strip)
        ImageDraw.Draw(picture).text(
            (width / 2, strip / 2), title, fill=INK, font=font, anchor="mm"
        )
    return np.asarray(picture)


def contact_sheet(
    images: Sequence[np.ndarray],
    *,
    columns: int | None = None,
    titles: Sequence[str] | None = None,
    height: int = 512,
) -> np.ndarray:
    """Set pictures side by side at one height, row by row, with captions above them if given.

    Raises:
        InputError: if there is no picture, a picture is not 8-bit RGB, or captions are missing.
    """
    if not images or (titles is not None and len(titles) != len(images)):
        raise InputError(
            f"expected at least one picture and one title for each, found {len(images)} pictures "
            f"and {len(titles or ())} titles: give both lists the same length."
        )
    strip = max(14, height // 18) if titles else 0
    tiles = [
        _tile(image, titles[i] if titles else None, height, strip) for i, image in enumerate(images)
    ]
    columns = min(columns or len(tiles), len(tiles))
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    widths = [max(row[c].shape[1] for row in rows if c < len(row)) for c in range(columns)]
    pitch = height + strip + GAP
    sheet = np.full(
        (GAP + pitch * len(rows), GAP + sum(width + GAP for width in widths), 3), PAPER, np.uint8
    )
    for r, row in enumerate(rows):
        left = GAP
        for tile, width in zip(row, widths, strict=False):  # the last row may be short
            start = left + (width - tile.shape[1]) // 2
            top = GAP + r * pitch
            sheet[top : top + tile.shape[0], start : start + tile.shape[1]] = tile
            left += width + GAP
    return sheet
