"""What calibration tools write: OpenCV's YAML, JSON and XML, and ROS's YAML."""

import json
from typing import Any
from xml.etree import ElementTree

import yaml  # type: ignore[import-untyped]

_MATRIX_NAMES = ("K", "camera_matrix", "cameraMatrix", "Camera_Matrix", "CameraMatrix", "mtx")
_DISTORTION_NAMES = (
    *("distortion_coefficients", "Distortion_Coefficients", "distortion_coeffs", "distCoeffs"),
    *("dist_coeffs", "dist_coeff", "dist", "D"),
)
_SIZE_NAMES = (
    *(("width", "height"), ("image_width", "image_height"), ("image_Width", "image_Height")),
)


class _Loader(yaml.SafeLoader):
    """YAML without code, whose matrices of OpenCV's are dictionaries."""


def _matrix_of_yaml(loader: Any, _: str, node: Any) -> Any:
    return loader.construct_mapping(node, deep=True)


_Loader.add_multi_constructor("tag:yaml.org,2002:opencv-", _matrix_of_yaml)


def parse_calibration(text: str) -> dict[str, Any]:
    """A camera or calibration file's content.

    Raises:
        ValueError: if it is neither JSON, YAML nor OpenCV's XML, or no dictionary; says so.
    """
    start = text.lstrip()[:1]
    if start == "<":
        content = _parse_xml(text)
    elif start == "{":
        content = json.loads(text)
    else:
        content = _parse_yaml(text)
    if not isinstance(content, dict):
        raise ValueError("it holds no named values")
    return content


def camera_matrix(content: dict[str, Any]) -> list[list[float]]:
    """K as three rows.

    Raises:
        ValueError, KeyError, TypeError: if there is none.
    """
    for name in _MATRIX_NAMES:
        if name in content:
            numbers = _numbers(content[name])
            if len(numbers) != 9:
                raise ValueError(f"{name} has {len(numbers)} numbers, not 9")
            return [numbers[:3], numbers[3:6], numbers[6:]]
    lacking = [name for name in ("fx", "fy", "cx", "cy") if name not in content]
    if lacking:
        found = ", ".join(str(name) for name in list(content)[:6]) or "nothing"
        raise ValueError(f"no camera matrix in it, but {found}")
    fx, fy, cx, cy = (float(content[name]) for name in ("fx", "fy", "cx", "cy"))
    return [[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]


def is_distorted(content: dict[str, Any]) -> bool:
    """Whether the lens bends straight lines, which no K can say."""
    given = [content[name] for name in _DISTORTION_NAMES if name in content]
    return any(abs(number) > 0 for value in given for number in _numbers(value))


def calibrated_size(content: dict[str, Any]) -> tuple[int | None, int | None]:
    """Height and width of the calibrated pictures, as far as they are given."""
    for width, height in _SIZE_NAMES:
        if width in content or height in content:
            values = (content.get(name) for name in (height, width))
            rows, columns = (None if value is None else int(float(value)) for value in values)
            return rows, columns
    return None, None


def _numbers(value: Any) -> list[float]:
    """All numbers of a matrix, row by row, however it is nested."""
    if isinstance(value, dict):
        return _numbers(value["data"])
    if isinstance(value, str):
        return [float(word) for word in value.split()]
    if isinstance(value, list):
        return [number for part in value for number in _numbers(part)]
    return [] if value is None else [float(value)]


def _parse_yaml(text: str) -> Any:
    lines = text.splitlines()
    if lines and lines[0].startswith("%YAML"):  # OpenCV's header is not quite YAML's
        lines = lines[1:]
    try:
        return yaml.load("\n".join(lines), Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"neither JSON nor YAML: {str(error).splitlines()[0]}") from error


def _parse_xml(text: str) -> dict[str, Any]:
    if "<!" in text.replace("<!--", ""):
        raise ValueError("XML with declarations, which OpenCV does not write")
    try:
        root = ElementTree.fromstring(text.encode())
    except ElementTree.ParseError as error:
        raise ValueError(f"no XML: {error}") from error
    if root.tag != "opencv_storage":
        raise ValueError(f"XML of another kind, <{root.tag}>")
    return {
        child.tag: {part.tag: part.text or "" for part in child} if len(child) else child.text
        for child in root
    }
