"""The generator of dressed people: plans in, pictures and all that is known about them out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meshreg.body.smpl import Body, load_body
from meshreg.data.sample import HIDDEN_LABEL, Batch, Sample, inside_picture, joint_pixels
from meshreg.data.synthetic.backgrounds import (
    Backdrop,
    View,
    cast_on_ground,
    out_of_focus,
    render_scenes,
)
from meshreg.data.synthetic.casting import Casting, cast
from meshreg.data.synthetic.compose import (
    Group,
    Maps,
    borders,
    enlarged,
    in_front,
    maps_of,
    shrunk,
    together,
)
from meshreg.data.synthetic.degrade import degrade
from meshreg.data.synthetic.develop import quantised
from meshreg.data.synthetic.lights import Lights, place_lights
from meshreg.data.synthetic.occluders import render_occluders
from meshreg.data.synthetic.paint import in_picture, paint
from meshreg.data.synthetic.people import DressedPeople
from meshreg.data.synthetic.picture_folder import PictureFolder
from meshreg.data.synthetic.scene import ScenePlan
from meshreg.data.synthetic.shadows import ShadowMap
from meshreg.data.synthetic.surface import Surface, look_at
from meshreg.data.synthetic.wardrobe import Wardrobe
from meshreg.data.visibility import visible_joints
from meshreg.geometry.cameras import resize_intrinsics
from meshreg.render.rasterizer import Rasterizer, rasterizer

WORLD_DOWN = (0.0, -1.0, 0.0)


@dataclass(frozen=True, eq=False)
class _Cast:
    """Everybody in a batch, dressed, in the cameras' frames; and what their pictures look like."""

    plans: Sequence[ScenePlan]
    castings: Sequence[Casting]
    group: Group
    people: DressedPeople
    lights: Lights  # of each person
    view: View  # of each picture
    betas: Float[Tensor, "P S"]
    pose_rotmat: Float[Tensor, "P 24 3 3"]
    transl: Float[Tensor, "P 3"]


class DressedPeopleGenerator:
    """Renders plans in batches on the device of its body; the `Generator` protocol."""

    def __init__(
        self,
        *,
        body: Body,
        rasterizer: Rasterizer,
        pictures: PictureFolder | None = None,
        supersampling: int = 2,
    ) -> None:
        """Colours are computed at `supersampling` times the resolution and averaged.

        Args:
            body: the built-in body, whose topology the clothes know.
            rasterizer: finds what is seen.
            pictures: photographs for the background; without them places are drawn.
            supersampling: 1 is fastest and leaves jagged edges.
        """
        self.body, self.rasterizer, self.pictures = body, rasterizer, pictures
        self.supersampling = supersampling
        self.wardrobe = Wardrobe(body)

    @torch.no_grad()
    def render(self, plans: Sequence[ScenePlan]) -> Batch:
        """Draw all plans, which must be of one size, as one batch in their order."""
        size = plans[0].size
        assert all(plan.size == size for plan in plans), "pictures of a batch share one size"
        scene = self._cast(plans)
        K = self._tensor([plan.K for plan in plans])
        surface = look_at(scene.people, K[scene.group.picture], (size, size), self.rasterizer)
        light, covered = self._photograph(scene, surface, K)
        flaws = [casting.degradation for casting in scene.castings]
        srgb = degrade(light, flaws)
        box = self._tensor([plan.box for plan in plans])
        full_size = torch.tensor([plan.full_size for plan in plans], device=box.device)
        inside = inside_picture(full_size, box, size)
        image = quantised(srgb * inside[..., None]).permute(0, 3, 1, 2).contiguous()
        return self._sample(scene, K, image, maps_of(surface, scene.group, covered), inside)

    # --- the people ---------------------------------------------------------------------------
    def _cast(self, plans: Sequence[ScenePlan]) -> _Cast:
        castings = [cast(plan) for plan in plans]
        rows = [(b, k) for b, plan in enumerate(plans) for k in range(len(plan.people))]
        persons = [plans[b].people[k] for b, k in rows]
        outfits = [castings[b].outfits[k] for b, k in rows]
        device = self.body.v_template.device
        picture, number = torch.tensor(rows, device=device).unbind(1)
        group = Group(picture=picture, number=number, num_pictures=len(plans))
        betas = self._tensor([person.betas for person in persons])
        pose_rotmat = self._tensor([person.pose_rotmat for person in persons])
        transl = self._tensor([person.transl for person in persons])
        R_cam_world = self._tensor([plan.R_cam_world for plan in plans])
        people = self._dressed(outfits, betas, pose_rotmat, transl, R_cam_world[picture])
        up = R_cam_world[:, :, 1]
        lights = place_lights([casting.light for casting in castings], up)
        return _Cast(
            plans=plans,
            castings=castings,
            group=group,
            people=people,
            lights=in_picture(lights, picture),
            view=self._view(people, group, up),
            betas=betas,
            pose_rotmat=pose_rotmat,
            transl=transl,
        )

    def _dressed(
        self,
        outfits: Sequence,
        betas: Tensor,
        pose_rotmat: Tensor,
        transl: Tensor,
        R_cam_world: Float[Tensor, "P 3 3"],
    ) -> DressedPeople:
        """Dress people upright, so that cloth hangs down, and bring them before the camera."""
        root_world = R_cam_world.mT @ pose_rotmat[:, 0]
        upright = torch.cat([root_world[:, None], pose_rotmat[:, 1:]], 1)
        still = torch.zeros_like(transl)
        people = self.wardrobe.dress(outfits, betas, upright, still, down=WORLD_DOWN)
        pelvis = people.joints[:, :1]  # the root turns about it

        def in_camera(points: Tensor) -> Tensor:
            return (points - pelvis) @ R_cam_world.mT + pelvis + transl[:, None]

        return replace(
            people,
            vertices=in_camera(people.vertices),
            body_vertices=in_camera(people.body_vertices),
            joints=in_camera(people.joints),
        )

    def _view(self, people: DressedPeople, group: Group, up: Float[Tensor, "B 3"]) -> View:
        """The ground lies under the lowest foot of each picture."""
        height = torch.einsum("pvc,pc->pv", people.body_vertices, up[group.picture]).amin(1)
        lowest = height.new_full((group.num_pictures,), torch.inf)
        lowest = lowest.scatter_reduce(0, group.picture, height, "amin")
        distance = people.joints[group.subject, 0, 2]
        return View(K=up.new_zeros(len(up), 3, 3), up=up, height=-lowest, distance=distance)

    # --- the pictures -------------------------------------------------------------------------
    def _photograph(
        self, scene: _Cast, surface: Surface, K: Float[Tensor, "B 3 3"]
    ) -> tuple[Float[Tensor, "B H W 3"], Float[Tensor, "B H W"]]:
        """Linear light without the camera's flaws, and the share that things in front hide."""
        group, size = scene.group, surface.hit.shape[1]
        shadow = ShadowMap(
            scene.people.body_vertices,
            self.body.faces,
            scene.lights.key_direction,
            self.rasterizer,
        )
        people, covered = self._painted(scene, surface, K, shadow)
        backdrop = self._backdrop(scene, K, size, shadow)
        light = people + backdrop * (1 - covered.clamp(max=1))[..., None]
        return self._with_occluders(light, scene, surface.hit[group.subject])

    def _painted(
        self, scene: _Cast, surface: Surface, K: Tensor, shadow: ShadowMap
    ) -> tuple[Float[Tensor, "B H W 3"], Float[Tensor, "B H W"]]:
        """People on black, and how much of each pixel they cover.

        Within one surface a pixel's centre speaks for it, because patterns are filtered; where
        surfaces meet, finer samples are averaged.
        """
        group, fine = scene.group, self.supersampling
        looks = [look for casting in scene.castings for look in casting.looks]
        K_person = K[group.picture]
        painted = paint(surface, looks, scene.lights, K_person, shadow=shadow)
        people, covered = together(painted, in_front(surface, group)[0], group)
        if fine == 1:
            return people, covered
        mixed = borders(surface, group, (K[:, 0, 0] + K[:, 1, 1]) / 2)
        where = enlarged(mixed, fine)[group.picture]
        K_fine = resize_intrinsics(K_person, float(fine), float(fine))
        size = (where.shape[1], where.shape[2])
        closer = look_at(scene.people, K_fine, size, self.rasterizer, where=where)
        painted = paint(closer, looks, scene.lights, K_fine, shadow=shadow, where=where)
        exact, share = together(painted, in_front(closer, group)[0], group)
        people = torch.where(mixed[..., None], shrunk(exact, fine), people)
        return people, torch.where(mixed, shrunk(share[..., None], fine)[..., 0], covered)

    def _backdrop(
        self, scene: _Cast, K: Tensor, size: int, shadow: ShadowMap
    ) -> Float[Tensor, "B H W 3"]:
        """What lies behind the people."""
        bokeh = self._tensor([casting.bokeh_px for casting in scene.castings])
        if self.pictures is not None:
            crops = [
                self.pictures.crop(plan.rng("photograph"), (size, size)) for plan in scene.plans
            ]
            return torch.stack(crops).to(K.device)
        view = replace(scene.view, K=K)
        places = [casting.scene for casting in scene.castings]
        lights = in_picture(scene.lights, scene.group.subject)
        backdrop: Backdrop = render_scenes(places, view, lights, (size, size))
        backdrop = cast_on_ground(
            backdrop, view, shadow, scene.group.picture, 0.75 * scene.lights.hardness
        )
        return out_of_focus(backdrop, view.distance, bokeh)

    def _with_occluders(
        self, light: Tensor, scene: _Cast, person: Bool[Tensor, "B H W"]
    ) -> tuple[Float[Tensor, "B H W 3"], Float[Tensor, "B H W"]]:
        hidden = light.new_zeros(light.shape[:3])
        chosen = [i for i, casting in enumerate(scene.castings) if casting.occluder is not None]
        if not chosen:
            return light, hidden
        index = torch.tensor(chosen, device=light.device)
        subject = scene.group.subject[index]
        things = [casting.occluder for casting in scene.castings if casting.occluder is not None]
        covers = render_occluders(
            things,
            person[index],
            scene.people.joints[subject, 0, 2],
            in_picture(scene.lights, subject),
        )
        alpha = covers.alpha[..., None]
        light = light.index_copy(0, index, light[index] * (1 - alpha) + covers.rgb * alpha)
        return light, hidden.index_copy(0, index, covers.alpha)

    # --- the sample ---------------------------------------------------------------------------
    def _sample(self, scene: _Cast, K: Tensor, image: Tensor, maps: Maps, inside: Tensor) -> Batch:
        plans, subject = scene.plans, scene.group.subject
        joints_cam = scene.people.joints[subject]
        joints_px = joint_pixels(joints_cam, K)
        visible, self_hidden = visible_joints(
            joints_px, joints_cam[..., 2], maps.depth, maps.instance, inside
        )
        device = K.device
        return Sample(
            image=image,
            K=K,
            K_full=self._tensor([plan.K_full for plan in plans]),
            full_size=torch.tensor([plan.full_size for plan in plans], device=device),
            box=self._tensor([plan.box for plan in plans]),
            betas=scene.betas[subject],
            pose_rotmat=scene.pose_rotmat[subject],
            transl=scene.transl[subject],
            joints_cam=joints_cam,
            joints_px=joints_px,
            joints_visible=visible,
            joints_self_hidden=self_hidden,
            vertices_cam=scene.people.body_vertices[subject],
            labels=torch.where(inside, maps.labels, HIDDEN_LABEL).to(torch.uint8),
            depth=maps.depth,
            part=maps.part,
            instance=maps.instance,
            index=torch.tensor([plan.index for plan in plans], device=device),
        )

    def _tensor(self, rows: Sequence) -> Tensor:
        return torch.from_numpy(np.array(rows, np.float32)).to(self.body.v_template.device)


def make_generator(
    *,
    device: torch.device | str = "cpu",
    backgrounds: Path | None = None,
    supersampling: int = 2,
) -> DressedPeopleGenerator:
    """The generator with the built-in body and the default rasteriser.

    Raises:
        MissingFileError: if there is no folder `backgrounds`.
        InputError: if it holds no readable picture.
    """
    return DressedPeopleGenerator(
        body=load_body().to(device),
        rasterizer=rasterizer(),
        pictures=None if backgrounds is None else PictureFolder(backgrounds),
        supersampling=supersampling,
    )
